//! What the proxies do when Countersign cannot answer: nothing gets through.

use crate::stage::Stage;

#[test]
fn without_the_server_nothing_gets_through() {
    let stage = Stage::with("api=wallet");
    let key =
        stage.key(&[("api", "wallet"), ("permissions", "read_balance"), ("expires_in_days", "30")]);
    let bearer = format!("Bearer {}", key.secret);
    let Stage { server, nginx, caddy, upstream, .. } = stage;
    server.kill();
    for proxy in [&nginx, &caddy] {
        let answer = proxy.get("/customers", ("Authorization", &bearer));
        assert!((500..600).contains(&answer.status), "{}: {answer:?}", proxy.name);
    }
    assert_eq!(upstream.calls(), 0);
}
