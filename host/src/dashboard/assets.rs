//! Serves the stylesheet and the module, which are compiled in. Their addresses have a digest of their contents, so that
//! browsers keep them for good and still use those of this program.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use sexton_runtime::runtime::digest;

/// The characters of a digest in an address.
const DIGITS: usize = 16;

/// A file that is compiled in.
struct Asset {
    name: String,
    text: &'static str,
    kind: &'static str,
}

impl Asset {
    fn of(ending: &str, text: &'static str, kind: &'static str) -> Self {
        let digest = digest(text.as_bytes());
        Self { name: format!("sexton-{}.{ending}", &digest[..DIGITS]), text, kind }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::of("css", include_str!("../../assets/sexton.css"), "text/css; charset=utf-8"));

static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::of("js", include_str!("../../assets/sexton.js"), "text/javascript; charset=utf-8"));

/// Returns the address of the stylesheet.
pub(super) fn style() -> String {
    format!("/assets/{}", STYLE.name)
}

/// Returns the address of the module.
pub(super) fn script() -> String {
    format!("/assets/{}", SCRIPT.name)
}

/// `GET /assets/{file}`.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some(asset) = [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = asset.text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}

#[cfg(test)]
mod tests {
    /// The most lines of the module. It grows only if something else leaves.
    const MOST_LINES: usize = 400;

    #[test]
    fn the_module_stays_small() {
        assert!(include_str!("../../assets/sexton.js").lines().count() <= MOST_LINES);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for text in [include_str!("../../assets/sexton.css"), include_str!("../../assets/sexton.js")] {
            for foreign in ["http://", "https://", "@import", "url("] {
                assert!(!text.contains(foreign), "{foreign}");
            }
        }
    }
}
