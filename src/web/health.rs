//! Whether this process lives, and whether it can work.

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::State;
use crate::store::audit;

/// The process answers: that is all.
pub(super) async fn live() -> HttpResponse {
    std::future::ready(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n"))
        .await
}

/// The database answers, and this node hears of changed keys.
pub(super) async fn ready(state: Data<State>) -> HttpResponse {
    let text = "text/plain; charset=utf-8";
    match state.db.read(audit::head).await {
        Ok(_) if state.index.is_fresh() => HttpResponse::Ok().content_type(text).body("ready\n"),
        Ok(_) => HttpResponse::ServiceUnavailable()
            .content_type(text)
            .body("not ready: key changes are not heard\n"),
        Err(_) => {
            HttpResponse::ServiceUnavailable().content_type(text).body("not ready: database\n")
        }
    }
}
