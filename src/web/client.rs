//! Where a request really comes from. Forwarding headers are believed from trusted proxies only.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use ipnet::IpNet;

use crate::domain::member::Origin;

/// The client's address: the peer, unless the peer is a trusted proxy; then `X-Forwarded-For` is
/// walked from the right, trusted hops skipped. Nothing if what stands there is no address, or if a
/// trusted proxy names nobody.
pub(super) fn ip(req: &RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = req.peer_addr?.ip().to_canonical();
    if trusted.is_empty() {
        return Some(peer);
    }
    let lines = req.headers.get_all("x-forwarded-for").map(|line| line.to_str().unwrap_or("?"));
    resolve(peer, &lines.collect::<Vec<_>>(), trusted)
}

/// The rule itself.
pub fn resolve(peer: IpAddr, forwarded: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let joined = forwarded.join(",");
    for hop in joined.rsplit(',') {
        let ip = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !is_trusted(&ip) {
            return Some(ip);
        }
    }
    None
}

/// The address and id of a request, for the audit log.
pub(super) fn origin(req: &HttpRequest, trusted: &[IpNet]) -> Origin {
    let request_id = super::context::request_id().as_str().to_owned();
    Origin { ip: ip(req.head(), trusted), request_id: Some(request_id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_from_the_right() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "::1/128"].iter().map(|s| s.parse().unwrap()).collect();
        let rows: &[(&str, &[&str], Option<&str>)] = &[
            ("203.0.113.7", &[], Some("203.0.113.7")),
            ("203.0.113.7", &["6.6.6.6"], Some("203.0.113.7")),
            ("10.0.0.1", &["203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &["203.0.113.7, 10.0.0.2"], Some("203.0.113.7")),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.7"], Some("203.0.113.7")),
            ("::1", &["::ffff:203.0.113.7"], Some("203.0.113.7")),
            ("10.0.0.1", &[], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["10.0.0.2"], None),
            ("10.0.0.1", &["203.0.113.7, unknown"], None),
            ("10.0.0.1", &["203.0.113.7:80"], None),
            ("10.0.0.1", &["010.0.0.1"], None),
            ("10.0.0.1", &["fe80::1%eth0"], None),
        ];
        for (peer, forwarded, client) in rows {
            let found = resolve(peer.parse().unwrap(), forwarded, &trusted);
            assert_eq!(found, client.map(|ip| ip.parse().unwrap()), "{peer} {forwarded:?}");
        }
    }
}
