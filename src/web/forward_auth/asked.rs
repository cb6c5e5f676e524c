//! What a proxy was asked to pass on, read from the one place where that kind of proxy says it.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;

/// The kinds of proxies, by where they say what they were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    /// `auth_request`: `X-Original-Method` and `X-Original-URL`.
    Nginx,
    /// Caddy and Traefik: `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri`.
    Forward,
    /// `ext_authz`: the request itself, below a prefix.
    Envoy,
}

/// The call a proxy was asked to pass on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its method; `HEAD` counts as `GET`.
    pub(super) method: String,
    /// Its path and query, byte for byte.
    pub(super) target: String,
}

/// Names that tell facts; one of them with an underscore is another header to us and the same one
/// to some servers behind the proxy.
const FACTS: [&str; 3] = ["x-forwarded-", "x-original-", "x-key-"];

impl Asked {
    /// Reads what was asked, or says what is wrong with the telling.
    pub(super) fn read(proxy: Proxy, req: &HttpRequest) -> Result<Self, &'static str> {
        let headers = req.headers();
        if headers.keys().any(|name| is_look_alike(name.as_str())) {
            return Err("A header looks like another one: it has _ in place of -");
        }
        let (method, target) = match proxy {
            Proxy::Nginx => {
                (one(headers, "x-original-method")?, path_of_url(one(headers, "x-original-url")?)?)
            }
            Proxy::Forward => {
                one(headers, "x-forwarded-proto")?;
                one(headers, "x-forwarded-host")?;
                (one(headers, "x-forwarded-method")?, one(headers, "x-forwarded-uri")?)
            }
            Proxy::Envoy => (req.method().as_str(), tail(req)?),
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| "The original method is not a method")?;
        let plain = target.starts_with('/') && !target.contains('#');
        if !plain || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("The original path is not a path");
        }
        let method = if method == Method::HEAD { Method::GET } else { method };
        Ok(Self { method: method.to_string(), target: target.to_owned() })
    }
}

fn is_look_alike(name: &str) -> bool {
    name.contains('_') && FACTS.iter().any(|fact| name.replace('_', "-").starts_with(fact))
}

/// The value of a header that must be there exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, &'static str> {
    let mut values = headers.get_all(name);
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) if !value.is_empty() => Ok(value),
        (Some(Ok(_)), None) | (None, _) => Err("The proxy did not say what it was asked"),
        (Some(_), _) => Err("The proxy said in two ways what it was asked"),
    }
}

/// The part of an absolute URL behind its host, as it stands. The host is the client's to choose:
/// one that could hide a path is refused.
fn path_of_url(url: &str) -> Result<&str, &'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let split = rest.and_then(|rest| rest.find('/').and_then(|at| rest.split_at_checked(at)));
    let is_host = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b))
    };
    match split {
        Some((host, path)) if is_host(host) => Ok(path),
        Some(_) | None => Err("The original URL is not absolute"),
    }
}

/// Path and query behind the prefix of the route, as they stand.
fn tail(req: &HttpRequest) -> Result<&str, &'static str> {
    let whole = req.uri().path_and_query().map_or("", |it| it.as_str());
    let rest = whole.strip_prefix("/auth/envoy").and_then(|rest| {
        let Some(api) = req.match_info().get("api") else { return Some(rest) };
        rest.strip_prefix("-for/")?.strip_prefix(api)
    });
    rest.ok_or("The path is spelled in another way than expected")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn read(proxy: Proxy, headers: &[(&str, &str)]) -> Result<(String, String), &'static str> {
        let request = TestRequest::with_uri("/auth/x");
        let request =
            headers.iter().fold(request, |request, header| request.append_header(*header));
        Asked::read(proxy, &request.to_http_request()).map(|asked| (asked.method, asked.target))
    }

    #[test]
    fn nginx_names_the_whole_url() {
        let path = |url| {
            read(Proxy::Nginx, &[("X-Original-Method", "GET"), ("X-Original-URL", url)])
                .map(|(_, target)| target)
        };
        assert_eq!(path("https://a.example:8443/b/c?d=/e"), Ok("/b/c?d=/e".to_owned()));
        assert_eq!(path("http://[::1]:80/b"), Ok("/b".to_owned()));
        let refused = [
            "/b",
            "http:///b",
            "http://a",
            "http://a?/b",
            "http://a#/b",
            "http://u@a/b",
            "http://a\\/b",
            "ftp://a/b",
            "//a/b",
            "http://a/b#c",
            "http://a/b c",
            "http://a/\u{e9}",
            "",
        ];
        for url in refused {
            assert!(path(url).is_err(), "{url}");
        }
    }

    #[test]
    fn forwarded_facts_are_there_exactly_once() {
        let all = [
            ("X-Forwarded-Method", "HEAD"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Uri", "/b?c"),
        ];
        let both = ("GET".to_owned(), "/b?c".to_owned());
        assert_eq!(read(Proxy::Forward, &all), Ok(both));
        for missing in 0..all.len() {
            let mut some = all.to_vec();
            let gone = some.remove(missing);
            assert!(read(Proxy::Forward, &some).is_err(), "without {gone:?}");
            assert!(read(Proxy::Forward, &[&all[..], &[gone]].concat()).is_err(), "twice {gone:?}");
        }
    }

    #[test]
    fn look_alikes_are_refused() {
        let nginx = [("X-Original-Method", "GET"), ("X-Original-URL", "http://a/b")];
        assert!(read(Proxy::Nginx, &[&nginx[..], &[("X-Forwarded-Uri", "/z")]].concat()).is_ok());
        for name in ["X_Original_URL", "x-original_url", "X_Forwarded_For", "X_Key_Id", "X-Key_Id"]
        {
            assert!(read(Proxy::Nginx, &[&nginx[..], &[(name, "z")]].concat()).is_err(), "{name}");
        }
    }
}
