//! The floor of the measurements: the same server software answering with constants.

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{App, HttpResponse, HttpResponseBuilder, HttpServer, web};

/// What a balance looks like.
const BALANCE: &str = r#"{"balance":"50000.00"}"#;
/// What a verified key looks like, as long as a real answer.
const VERIFIED: &str = r#"{"valid":true,"code":"valid","key":{"id":"0193520d-7a00-7f38-8000-000000000001","label":"Load","api":"wallet","distributorID":"36e48800-22ce-4ea0-b37a-198f7978cd53","environment":"production","accessType":null,"permissions":["perform_operations","read_balance"],"limits":{"currency":"NGN","maxTransactionAmount":"1000.00","maxDailyVolume":"1000000000.00"},"restrictions":{},"allowedIPs":["127.0.0.0/8"],"expiresAt":"2027-11-22T10:00:00Z","lastFour":"abcd"}}"#;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let app = || {
        App::new()
            .route("/livez", web::get().to(|| constant("ok")))
            .route("/api/v1/distributors/{id}/balance", web::get().to(|| constant(BALANCE)))
            .route("/api/v1/verify", web::post().to(verified))
    };
    HttpServer::new(app).workers(1).bind(address)?.run().await
}

/// Takes the body in, as whoever answers it must.
async fn verified(body: Bytes) -> HttpResponse {
    drop(body);
    constant(VERIFIED).await
}

fn constant(json: &'static str) -> std::future::Ready<HttpResponse> {
    let mut res = HttpResponseBuilder::new(StatusCode::OK);
    std::future::ready(res.content_type("application/json").body(json))
}
