//! Why a call gets no answer, and how that is told.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::json;

use crate::actions::spending::NotSpent;
use crate::domain::denial::Denial;
use crate::domain::movement::Fault;
use crate::domain::usage::Outcome;
use crate::error::Error;
use crate::web::error as faults;

/// Why a call gets no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::web) enum ApiError {
    /// No key, or none that opens anything now: the same answer for every cause.
    #[error("Invalid or missing API key")]
    Unauthorized,
    /// A key that opens something, but not this.
    #[error("{}", .0.message())]
    Denied(Denial),
    /// Too many refused calls from one address; holds the seconds to wait.
    #[error("Too many refused calls from this address; slow down")]
    Flood(u32),
    /// What was sent makes no sense.
    #[error("{}", .0.message)]
    Invalid(Fault),
    /// Another status with its stable code and sentence.
    #[error("{2}")]
    Status(StatusCode, &'static str, &'static str),
    /// Something failed on our side.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl ApiError {
    /// A request that is wrong as a whole.
    pub(in crate::web) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(Fault::new(field, message))
    }

    /// What the call counts as; nothing for faults of ours.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Denied(denial) => Some((*denial).into()),
            Self::Unauthorized => Some(Outcome::Unauthorized),
            Self::Flood(_) => Some(Outcome::RateLimited),
            Self::Invalid(_) | Self::Status(..) => Some(Outcome::InvalidRequest),
            Self::Failed(_) => None,
        }
    }

    fn body(&self) -> (&str, String, Option<&str>) {
        match self {
            Self::Unauthorized => ("unauthorized", self.to_string(), None),
            Self::Denied(denial) => (denial.code(), self.to_string(), None),
            Self::Flood(_) => ("rate_limited", self.to_string(), None),
            Self::Invalid(fault) => (fault.code, self.to_string(), Some(fault.field)),
            Self::Status(_, code, _) => (code, self.to_string(), None),
            Self::Failed(e) => {
                let code = match e {
                    Error::Refused(refusal) => refusal.code(),
                    Error::NotFound => "not_found",
                    Error::Stale => "changed",
                    Error::Busy => "busy",
                    Error::Internal(_) => "internal",
                };
                (code, e.to_string(), None)
            }
        }
    }
}

impl From<NotSpent> for ApiError {
    fn from(why: NotSpent) -> Self {
        match why {
            NotSpent::Denied(denial) => Self::Denied(denial),
            NotSpent::Invalid(fault) => Self::Invalid(fault),
            NotSpent::Reused => Self::Status(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This idempotency key was used for another request",
            ),
            NotSpent::DoneBefore => Self::Status(
                StatusCode::CONFLICT,
                "already_processed",
                "This cash-out was processed before",
            ),
            NotSpent::Unknown => Self::Failed(Error::NotFound),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Unauthorized | Self::Denied(Denial::NotLive) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denial::RateLimited(_)) | Self::Flood(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Status(status, ..) => *status,
            Self::Failed(e) => faults::status(e),
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Failed(e) = self {
            faults::log(e);
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            return HttpResponse::Unauthorized()
                .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
                .json(json!({ "error": "Unauthorized", "message": "Invalid or missing API key" }));
        }
        let (code, message, field) = self.body();
        let mut res = problem(self.status_code(), code, &message, field);
        match self {
            Self::Denied(Denial::RateLimited(seconds)) | Self::Flood(seconds) => {
                res.headers_mut().insert(header::RETRY_AFTER, (*seconds).into());
            }
            Self::Status(StatusCode::CONFLICT, "request_in_progress", _) => {
                res.headers_mut().insert(header::RETRY_AFTER, 1.into());
            }
            Self::Failed(e) => faults::add_retry_after(&mut res, e),
            _ => (),
        }
        res
    }
}

/// The body of every refusal but 401.
#[derive(serde::Serialize)]
struct Problem<'a> {
    error: &'a str,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

pub(super) fn problem(
    status: StatusCode,
    code: &str,
    message: &str,
    field: Option<&str>,
) -> HttpResponse {
    let error = status.canonical_reason().unwrap_or("Error");
    let field = field.filter(|field| !field.is_empty());
    HttpResponseBuilder::new(status).json(Problem { error, code, message, field })
}
