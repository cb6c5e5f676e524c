//! JSON bodies: objects only, nothing unknown, nothing twice, not too large and not too slow.

use std::time::Duration;

use actix_web::body::{BodyStream, to_bytes_limited};
use actix_web::dev::{Payload, RequestHead};
use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use serde::Deserialize;

use super::ApiError;

/// The largest body; the longest sensible one is a tenth of it.
const MOST: usize = 16 * 1024;
/// How long a whole body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(15);

/// Reads a body that says it is JSON.
pub(super) async fn read(req: &RequestHead, payload: Payload) -> Result<Bytes, ApiError> {
    let kind = req.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let encoded = req.headers.contains_key(header::CONTENT_ENCODING);
    if encoded || !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(ApiError::Status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Send the body as application/json, not compressed",
        ));
    }
    let slow = ApiError::Status(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "The body took too long to arrive",
    );
    let too_large = || {
        ApiError::Status(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "The body is larger than 16 KiB",
        )
    };
    let whole = to_bytes_limited(BodyStream::new(payload), MOST);
    let body = tokio::time::timeout(PATIENCE, whole).await.map_err(|_| slow)?;
    let body = body.map_err(|_| too_large())?;
    body.map_err(|_| ApiError::invalid("", "The body did not arrive whole"))
}

/// A JSON object of the shape `T`. Arrays would fill the fields of a struct in their order; objects are all that is documented.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::invalid("", "Send one JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|e| ApiError::invalid("", format!("The body is not what is expected: {e}")))
}
