-- A script for wrk: sends one request for each secret in use in turn and prints the figures as JSON.
-- Arguments: a file with a whole request, a file with one secret a line to put in the place of
-- {key}, if that is in the request, and how far into that file to begin, from 0 to 1.

local before, after, keys, at

-- So many keys are in use, spread evenly over all there are: however many keys exist, what is counted
-- for those in use is written down each second, and that would be measured instead of the check.
local IN_USE = 1000

local function read(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

function init(args)
   local whole = read(args[1])
   before, after = whole:match("^(.-){key}(.*)$")
   keys = {}
   if before then
      local all = {}
      for key in read(args[2]):gmatch("[^\n]+") do
         all[#all + 1] = key
      end
      local step = math.max(1, math.floor(#all / IN_USE))
      for place = 1, #all, step do
         keys[#keys + 1] = all[place]
      end
   else
      before, keys[1], after = whole, "", ""
   end
   at = math.floor(#keys * tonumber(args[3]))
end

function request()
   at = at % #keys + 1
   return before .. keys[at] .. after
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      'figures {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"status":%d,"broken":%d}',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
