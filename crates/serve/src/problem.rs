//! What is wrong with a request, in the form in which OpenAI's clients expect it.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::error::Error;
use untangle_interpret::InterpretError;
use untangle_model::ModelError;
use untangle_schema::{Classify, Fault};

/// Seconds after which a full queue may be asked again (chosen).
const AGAIN: &str = "1";

/// The body of an answer that tells of a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fallen {
    /// The fault.
    pub error: Told,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Told {
    /// What is wrong, where, and what helps.
    pub message: String,
    /// `invalid_request_error` and the like.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field of the request that is at fault, where there is one.
    pub param: Option<String>,
    /// A word for programs, where there is one.
    pub code: Option<&'static str>,
}

/// A fault with its status.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    told: Told,
    allow: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Problem { status, told: Told { message: message.into(), kind, param: None, code }, allow: None }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message)
    }

    /// A field of it is.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(message).at(param)
    }

    /// The same at a field.
    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.told.param = Some(param.into());
        self
    }

    /// The same with a word for programs.
    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.told.code = Some(code);
        self
    }

    /// No token, or another one.
    pub(crate) fn unknown_caller(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", Some("invalid_api_key"), message)
    }

    /// The request comes from where none is taken from.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", Some("forbidden"), message)
    }

    /// There is nothing at this path.
    pub(crate) fn no_such_path(path: &str) -> Self {
        let message = format!("there is nothing at {path}; /openapi.json says what there is");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("not_found"), message)
    }

    /// There is no such model.
    pub(crate) fn no_such_model(asked: &str, served: &str) -> Self {
        let message = format!("there is no model `{asked}` here; there are {served}");
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found"), message).at("model")
    }

    /// There is no such dictionary.
    pub(crate) fn no_such_dictionary(asked: Option<&str>, served: &str) -> Self {
        let message = match asked {
            _ if served.is_empty() => "no dictionary is served; start the server with --sae SAE".to_owned(),
            Some(asked) => format!("there is no dictionary `{asked}` here; there are {served}"),
            None => format!("name a dictionary; there are {served}"),
        };
        let kind = "invalid_request_error";
        Self::new(StatusCode::NOT_FOUND, kind, Some("dictionary_not_found"), message).at("dictionary")
    }

    /// Nothing is known of its features.
    pub(crate) fn no_database(dictionary: &str) -> Self {
        let message = format!(
            "nothing is known of the features of {dictionary}: make a database with `untangle features` and start the server \
             with --features FEATURES.db"
        );
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("no_database"), message).at("dictionary")
    }

    /// There is no such feature.
    pub(crate) fn no_such_feature(feature: u64, features: usize) -> Self {
        let message = format!("there is no feature {feature}; they count from 0 to {}", features.saturating_sub(1));
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("feature_not_found"), message).at("feature")
    }

    /// No feature is about what is sought.
    pub(crate) fn nothing_found(sought: &str) -> Self {
        let message = format!(
            "no feature has words of `{sought}` in its label, examples or raised tokens; try other words for the same thing"
        );
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("nothing_found"), message).at("concept")
    }

    /// The path is for another method.
    pub(crate) fn other_method(method: &str, path: &str, allow: &'static str) -> Self {
        let (message, kind) = (format!("{path} takes {allow}, not {method}"), "invalid_request_error");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, kind, Some("method_not_allowed"), message);
        Problem { allow: Some(allow), ..problem }
    }

    /// The body does not come in time.
    pub(crate) fn too_slow() -> Self {
        let (kind, message) = ("invalid_request_error", "the body did not come in time; send it at once");
        Self::new(StatusCode::REQUEST_TIMEOUT, kind, Some("timeout"), message)
    }

    /// The body is too long.
    pub(crate) fn too_large(most: u64) -> Self {
        let message = format!("the body has more than {most} bytes; send prompts in several requests");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", Some("request_too_large"), message)
    }

    /// The body is not JSON.
    pub(crate) fn other_media() -> Self {
        let message = "the body is not said to be JSON; send it with `content-type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", Some("unsupported_media_type"), message)
    }

    /// Too many wait already.
    pub(crate) fn queue_full(waiting: usize, limit: usize) -> Self {
        let message = format!("{waiting} of {limit} places are taken by texts that wait; ask again in a second");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("queue_full"), message)
    }

    /// The server is about to end.
    pub(crate) fn closing() -> Self {
        let message = "the server is about to end; what was being written has been given up";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("shutting_down"), message)
    }

    /// The program is at fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("internal_error"), message)
    }

    /// What is told of it.
    pub(crate) fn body(&self) -> Fallen {
        Fallen { error: self.told.clone() }
    }

    /// Whether the server is to blame, so that whoever runs it should know.
    pub(crate) fn is_internal(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    /// Whether it goes away when others have been answered.
    pub(crate) fn is_of_load(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Whether it is what was steered that cannot be.
    pub(crate) fn is_of_steering(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.told.param.as_ref().is_some_and(|at| at.starts_with("steering"))
    }

    /// What is wrong.
    pub(crate) fn message(&self) -> &str {
        &self.told.message
    }

    fn of(error: &(impl Error + Classify)) -> Self {
        let message = error.to_string();
        match error.fault() {
            Fault::Usage | Fault::BadInput => Problem::invalid(message),
            Fault::Interrupted => Problem::closing(),
            Fault::Io | Fault::Internal => Problem::internal(message),
        }
    }
}

impl From<&ModelError> for Problem {
    fn from(error: &ModelError) -> Self {
        let problem = Problem::of(error);
        match error {
            ModelError::ContextExceeded { .. } => problem.with_code("context_length_exceeded").at("prompt"),
            ModelError::NotFinite { .. } => problem.with_code("not_finite").at("steering"),
            _ => problem,
        }
    }
}

impl From<&InterpretError> for Problem {
    fn from(error: &InterpretError) -> Self {
        Problem::of(error).at("steering")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = serde_json::to_string(&self.body()).unwrap_or_default();
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], Body::from(text)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static(AGAIN))),
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            _ => {}
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
