//! Defines the JSON of a run's input: its beginning, in the form that suits what it is.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use sexton_runtime::runtime::digest;

/// The beginning of a run's input; `GET /v1/runs/{run}/input` has all of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct InputShape {
    /// The size of the input in bytes.
    pub bytes: usize,
    /// The first 4 KiB; `None` if they are not text.
    pub text: Option<String>,
    /// Whether the input is longer.
    pub cut: bool,
    /// The kind of the input; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<InputKind>,
    /// The input itself, if it is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub json: Option<Box<RawValue>>,
    /// The SHA-256 of all of it in hex, if it is binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The kind of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputKind {
    /// An object or an array of at most 4 KiB. Other JSON texts, such as `42`, are taken for text.
    Json,
    /// Text in UTF-8.
    Text,
    /// Anything else.
    Binary,
}

impl InputShape {
    /// The bytes that are shown.
    const SHOWN: usize = 4 << 10;

    /// Returns the beginning of `input`.
    pub fn of(input: &[u8]) -> Self {
        let cut = input.len() > Self::SHOWN;
        let shown = &input[..input.len().min(Self::SHOWN)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A character may have been cut in two.
            Err(error) if cut && error.error_len().is_none() => std::str::from_utf8(&shown[..error.valid_up_to()]).ok(),
            Err(_) => None,
        };
        let json = text.filter(|_| !cut).and_then(json);
        let kind = match (&json, text) {
            _ if input.is_empty() => None,
            (Some(_), _) => Some(InputKind::Json),
            (None, Some(_)) => Some(InputKind::Text),
            (None, None) => Some(InputKind::Binary),
        };
        let sha256 = (kind == Some(InputKind::Binary)).then(|| digest(input));
        Self { bytes: input.len(), text: text.map(str::to_owned), cut, kind, json, sha256 }
    }
}

/// Returns `text` as JSON if it is an object or an array.
fn json(text: &str) -> Option<Box<RawValue>> {
    text.trim_start().starts_with(['{', '[']).then(|| RawValue::from_string(text.trim().to_owned()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(input: &[u8]) -> (Option<InputKind>, Option<String>, Option<String>) {
        let InputShape { kind, text, json, .. } = InputShape::of(input);
        (kind, text, json.map(|json| json.get().to_owned()))
    }

    #[test]
    fn an_input_is_json_if_all_of_it_is_an_object_or_an_array() {
        for text in [r#"{"a":1e999}"#, " [1, {}]\n", r#"{"a":12345678901234567890123}"#] {
            let json = text.trim().to_owned();
            assert_eq!(shown(text.as_bytes()), (Some(InputKind::Json), Some(text.to_owned()), Some(json)));
        }
        for text in ["42", "null", r#""quoted""#, "{a}", "{} {}", "{", "hello"] {
            assert_eq!(shown(text.as_bytes()), (Some(InputKind::Text), Some(text.to_owned()), None));
        }
        let long = format!("[\"{}\"]", "x".repeat(5000));
        assert_eq!(InputShape::of(long.as_bytes()).kind, Some(InputKind::Text));
    }

    #[test]
    fn an_input_that_is_no_text_has_its_size_and_its_digest() {
        let shape = InputShape::of(b"\0\xff");

        assert_eq!((shape.kind, shape.bytes, shape.text, shape.cut), (Some(InputKind::Binary), 2, None, false));
        let digest = "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8";
        assert_eq!(shape.sha256.as_deref(), Some(digest));
        assert_eq!(InputShape::of(b"").kind, None);
    }

    #[test]
    fn a_text_that_is_cut_within_a_character_stays_a_text() {
        let long = "ä".repeat(5000);
        let shape = InputShape::of(&long.as_bytes()[1..]);
        assert_eq!((shape.kind, shape.cut), (Some(InputKind::Binary), true));
        let shape = InputShape::of(format!("x{long}").as_bytes());
        assert_eq!(
            (shape.kind, shape.cut, shape.text.map(|text| text.len())),
            (Some(InputKind::Text), true, Some(4095))
        );
    }
}
