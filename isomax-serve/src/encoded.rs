//! Images in JSON, in Base64: `{"images": [{"name": "…", "data": "BASE64"}]}`, or without names.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum EncodedImage {
    Named { name: Option<String>, data: String },
    Bare(String),
}

/// Reads a body, of whose images it keeps so many at most: a short text can list millions.
pub fn read(bytes: &[u8], most: usize) -> serde_json::Result<Vec<EncodedImage>> {
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let images = Body(most).deserialize(&mut text)?;
    text.end()?;
    Ok(images)
}

struct Body(usize);

impl<'de> DeserializeSeed<'de> for Body {
    type Value = Vec<EncodedImage>;

    fn deserialize<D: Deserializer<'de>>(self, body: D) -> Result<Self::Value, D::Error> {
        body.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body {
    type Value = Vec<EncodedImage>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with images")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut images = None;
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "images" if images.is_some() => return Err(Error::duplicate_field("images")),
                "images" => images = Some(fields.next_value_seed(List(self.0))?),
                other => return Err(Error::unknown_field(other, &["images"])),
            }
        }
        images.ok_or_else(|| Error::missing_field("images"))
    }
}

struct List(usize);

impl<'de> DeserializeSeed<'de> for List {
    type Value = Vec<EncodedImage>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
        list.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Vec<EncodedImage>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of images")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut images = Vec::new();
        while images.len() < self.0 {
            match list.next_element()? {
                Some(image) => images.push(image),
                None => return Ok(images),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_images_are_kept_than_are_asked_for() {
        let body = format!(r#"{{"images": [{}""]}}"#, r#""","#.repeat(100_000));
        let images = read(body.as_bytes(), 3).expect("a list");
        assert_eq!(images.len(), 3);
        assert!(images.capacity() < 100);
        assert_eq!(
            read(br#"{"images": ["a", {"name": "b", "data": "c"}]}"#, 9).expect("two").len(),
            2
        );
    }

    #[test]
    fn what_is_no_list_of_images_is_named() {
        for (body, reason) in [
            ("[]", "an object with images"),
            ("{}", "missing field `images`"),
            (r#"{"images": 3}"#, "a list of images"),
            (r#"{"images": [], "more": 1}"#, "unknown field `more`"),
            (r#"{"images": [], "images": []}"#, "duplicate field"),
            (r#"{"images": []} 3"#, "trailing"),
            (r#"{"images": [3]}"#, "did not match"),
            (r#"{"images": [""#, "EOF"),
        ] {
            let error = read(body.as_bytes(), 9).expect_err(body).to_string();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
