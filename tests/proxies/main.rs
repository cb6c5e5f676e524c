//! Keys before other people's services: the server, a real nginx and a real Caddy, and a small service.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a failed assumption should stop the test"
)]

mod failures;
mod journeys;
mod shapes;
mod spoofing;
mod stage;
#[expect(dead_code, reason = "shared with the other suite, which uses more of it")]
mod support;
mod upstream;
