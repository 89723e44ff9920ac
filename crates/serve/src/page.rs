//! The workbench: which files is the page made of?
//!
//! They are part of the program, hold no data and ask `/api/v1` and `/v1` for everything. What draws features is the script that
//! the dashboard's pages draw them with. The page may run its own scripts alone, ask this server alone, and nothing may frame it;
//! no script can make markup of a text.

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use untangle_interpret::page::{PARTS, PARTS_STYLE};
use untangle_schema::html::LOOK;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PAGE: &str = "text/html; charset=utf-8";

/// What the page may do.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// A file: its path, its kind, and what it is put together from.
pub(crate) type File = (&'static str, &'static str, &'static [&'static str]);

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../page/", $name))
    };
}

/// All files.
pub(crate) const FILES: [File; 21] = [
    ("/", PAGE, &[file!("index.html")]),
    ("/assets/icon.svg", "image/svg+xml", &[file!("icon.svg")]),
    ("/assets/style.css", STYLE, &[LOOK, PARTS_STYLE, file!("frame.css"), file!("views.css")]),
    ("/assets/parts.js", SCRIPT, &[PARTS]),
    ("/assets/main.js", SCRIPT, &[file!("main.js")]),
    ("/assets/address.js", SCRIPT, &[file!("address.js")]),
    ("/assets/ask.js", SCRIPT, &[file!("ask.js")]),
    ("/assets/draw.js", SCRIPT, &[file!("draw.js")]),
    ("/assets/tray.js", SCRIPT, &[file!("tray.js")]),
    ("/assets/prompt.js", SCRIPT, &[file!("prompt.js")]),
    ("/assets/feature.js", SCRIPT, &[file!("feature.js")]),
    ("/assets/search.js", SCRIPT, &[file!("search.js")]),
    ("/assets/steer.js", SCRIPT, &[file!("steer.js")]),
    ("/assets/toward.js", SCRIPT, &[file!("toward.js")]),
    ("/assets/dose.js", SCRIPT, &[file!("dose.js")]),
    ("/assets/compare.js", SCRIPT, &[file!("compare.js")]),
    ("/assets/chart.js", SCRIPT, &[file!("chart.js")]),
    ("/assets/quality.js", SCRIPT, &[file!("quality.js")]),
    ("/assets/runs.js", SCRIPT, &[file!("runs.js")]),
    ("/assets/toml.js", SCRIPT, &[file!("toml.js")]),
    ("/assets/dictionaries.js", SCRIPT, &[file!("dictionaries.js")]),
];

/// A file as an answer.
pub(crate) fn answer((_, kind, parts): File) -> Response {
    let mut response = ([(CONTENT_TYPE, kind)], parts.concat()).into_response();
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(REFERRER_POLICY, "no-referrer");
    put(X_FRAME_OPTIONS, "DENY");
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    put(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    response
}

/// Whether a path is one of the page's.
pub(crate) fn is_at(path: &str) -> bool {
    FILES.iter().any(|(known, _, _)| *known == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all files together, which a browser loads when the page is opened.
    const BUDGET: usize = 300 << 10;

    #[test]
    fn the_page_is_small_and_names_nothing_but_its_own_files() {
        let all: String = FILES.iter().flat_map(|(_, _, parts)| parts.iter().copied()).collect();
        assert!(all.len() < BUDGET, "{} bytes", all.len());
        for (path, kind, parts) in FILES {
            let text = parts.concat();
            // Names of the vocabularies of SVG and the like are no addresses that anything is asked of.
            let asks = text.replace("http://www.w3.org/", "");
            assert!(!asks.contains("http://") && !asks.contains("https://"), "{path} names another host");
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=\""] {
                assert!(!text.contains(forbidden), "{path}: {forbidden}");
            }
            if kind == SCRIPT {
                let imported = text.split("from './").skip(1).filter_map(|rest| rest.split('\'').next());
                imported.for_each(|name| assert!(is_at(&format!("/assets/{name}")), "{path} imports {name}"));
            }
            if kind == PAGE {
                let named = text.split("=\"/assets/").skip(1).filter_map(|rest| rest.split('"').next());
                named.for_each(|name| assert!(is_at(&format!("/assets/{name}")), "{path} names {name}"));
            }
        }
    }
}
