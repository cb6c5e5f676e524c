//! Lists of addresses a key may be used from.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// The most networks one key may list.
pub const LIST_MAX: usize = 100;

/// Addresses and networks, canonical and sorted; an empty list means any address.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedIps(Nets);

/// Most lists have one entry, which takes no memory of its own here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Nets {
    One(IpNet),
    Many(Box<[IpNet]>),
}

impl Default for Nets {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl From<Vec<IpNet>> for Nets {
    fn from(nets: Vec<IpNet>) -> Self {
        if let [one] = *nets { Self::One(one) } else { Self::Many(nets.into()) }
    }
}

impl AllowedIps {
    /// Reads IPv4 and IPv6 addresses and CIDRs separated by commas, spaces or line breaks.
    pub fn parse(s: &str) -> Result<Self, String> {
        let mut nets = s
            .split(|c: char| c == ',' || c == ';' || c.is_whitespace())
            .filter(|word| !word.is_empty())
            .map(parse_net)
            .collect::<Result<Vec<_>, _>>()?;
        nets.sort();
        nets.dedup();
        if nets.len() > LIST_MAX {
            return Err(format!(
                "List at most {LIST_MAX} addresses; use networks such as 10.0.0.0/24."
            ));
        }
        Ok(Self(nets.into()))
    }

    fn nets(&self) -> &[IpNet] {
        match &self.0 {
            Nets::One(net) => std::slice::from_ref(net),
            Nets::Many(nets) => nets,
        }
    }

    /// True if every address is allowed.
    pub fn is_any(&self) -> bool {
        self.nets().is_empty()
    }

    /// True if a call from `ip` is allowed; an IPv4 address mapped into IPv6 counts as itself.
    pub fn allow(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.is_any() || self.nets().iter().any(|net| net.contains(&ip))
    }

    /// The entry that allows `ip`, as it is shown; nothing if none does.
    pub fn entry_of(&self, ip: IpAddr) -> Option<String> {
        let ip = ip.to_canonical();
        self.nets().iter().find(|net| net.contains(&ip)).map(show)
    }

    /// The entries as they are shown: addresses without their full-length prefix.
    pub fn entries(&self) -> Vec<String> {
        self.nets().iter().map(show).collect()
    }

    /// True if some entry covers more than a /16 (IPv4) or a /48 (IPv6).
    pub fn is_wide(&self) -> bool {
        self.nets().iter().any(|net| match net {
            IpNet::V4(net) => net.prefix_len() < 16,
            IpNet::V6(net) => net.prefix_len() < 48,
        })
    }
}

fn parse_net(word: &str) -> Result<IpNet, String> {
    let net = match word.split_once('/') {
        None => word.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical())).ok(),
        Some(_) => word.parse::<IpNet>().ok(),
    };
    let Some(net) = net else {
        return Err(format!(
            "“{}” is not an IP address or a network such as 10.0.0.0/24.",
            clip(word)
        ));
    };
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(format!("Write the network “{}” as IPv4.", clip(word)));
    }
    if net.trunc() != net {
        return Err(format!("“{}” has host bits set. Did you mean {}?", clip(word), net.trunc()));
    }
    Ok(net)
}

fn clip(word: &str) -> String {
    word.chars().take(50).collect()
}

fn show(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

impl fmt::Display for AllowedIps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.entries().join(", "))
    }
}

impl TryFrom<String> for AllowedIps {
    type Error = String;

    fn try_from(s: String) -> Result<Self, String> {
        Self::parse(&s)
    }
}

impl From<AllowedIps> for String {
    fn from(ips: AllowedIps) -> Self {
        ips.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_strictly_and_shown_canonically() {
        let ips =
            AllowedIps::parse(" 192.168.1.100,10.0.0.5\n2001:db8::/32 10.0.0.5 ::ffff:1.2.3.4")
                .unwrap();
        assert_eq!(ips.to_string(), "1.2.3.4, 10.0.0.5, 192.168.1.100, 2001:db8::/32");
        assert_eq!(AllowedIps::parse(&ips.to_string()).unwrap(), ips);
        assert!(AllowedIps::parse(" , ").unwrap().is_any());
        for text in [
            "010.0.0.1",
            "1.2.3",
            "1.2.3.4/33",
            "10.0.0.5/8",
            "::ffff:1.2.3.0/120",
            "x",
            "1.2.3.4:80",
            "fe80::1%eth0",
        ] {
            assert!(AllowedIps::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn mapped_addresses_equal_their_ipv4_form() {
        let ips = AllowedIps::parse("203.0.113.7, 10.0.0.0/8").unwrap();
        let allow = |ip: &str| ips.allow(ip.parse().unwrap());
        assert!(allow("203.0.113.7") && allow("::ffff:203.0.113.7") && allow("10.255.0.1"));
        assert!(!allow("203.0.113.8") && !allow("::203.0.113.7") && !allow("64:ff9b::203.0.113.7"));
        assert!(AllowedIps::default().allow("203.0.113.8".parse().unwrap()));
    }
}
