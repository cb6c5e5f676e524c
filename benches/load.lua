-- A script for wrk: sends one request for each secret in turn and prints the figures as JSON.
-- Arguments: a file with a whole request, a file with one secret a line to put in the place of
-- {key}, if that is in the request, and how far into that file to begin, from 0 to 1.

local before, after, keys, at

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
      for key in read(args[2]):gmatch("[^\n]+") do
         keys[#keys + 1] = key
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
