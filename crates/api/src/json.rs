//! JSON as Go's `encoding/json` reads and writes it, which is what Docker's clients expect.
//!
//! Reading: object keys match a struct's fields exactly or without regard to case, unknown keys are ignored,
//! `null` leaves any field at its default (and is the zero value inside lists and maps), the last of two equal
//! keys wins. Writing: no space, no escaping of `<`, `>`, `&`, one newline at the end.

use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Value};

/// Reads one JSON document with Go's rules; anything after it but white space is an error.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    from_value(&serde_json::from_slice(text)?)
}

/// Reads a value from an already parsed document with Go's rules.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(GoValue(value))
}

/// Writes a document as Go's encoder does: compact, with a newline at the end.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    Ok(text)
}

/// Whether a field has its zero value; Go's `omitempty`.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a list of strings that may also be given as one string: `"cmd"` for `["cmd"]`.
pub(crate) fn strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Strings {
        One(String),
        Many(Vec<Option<String>>),
    }
    Ok(match serde::Deserialize::deserialize(deserializer)? {
        None => None,
        Some(Strings::One(text)) => Some(vec![text]),
        Some(Strings::Many(list)) => Some(list.into_iter().map(Option::unwrap_or_default).collect()),
    })
}

/// Implements serde's traits for a struct that, as Go's anonymous fields do, holds the fields of other structs
/// beside its own. The struct derives both traits with `#[serde(remote = "Self")]` and marks the named fields
/// `#[serde(flatten, skip_deserializing)]`.
macro_rules! embeds {
    ($name:ident { $($field:ident),+ }) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;
                let value = serde_json::Value::deserialize(deserializer)?;
                let from = $crate::json::GoValue(&value);
                let mut whole = $name::deserialize(from).map_err(D::Error::custom)?;
                $( whole.$field = serde::Deserialize::deserialize(from).map_err(D::Error::custom)?; )+
                Ok(whole)
            }
        }
    };
}
pub(crate) use embeds;

/// A parsed document that deserialises with Go's rules.
#[derive(Clone, Copy)]
pub(crate) struct GoValue<'de>(pub(crate) &'de Value);

/// Scalars: `null` is the zero value, anything else is serde's business.
macro_rules! scalars {
    ($($method:ident => $visit:ident($zero:expr)),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Value::Null => visitor.$visit($zero),
                other => other.$method(visitor),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for GoValue<'de> {
    type Error = Error;

    scalars! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0), deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0), deserialize_i64 => visit_i64(0),
        deserialize_u8 => visit_u8(0), deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0), deserialize_u64 => visit_u64(0),
        deserialize_f32 => visit_f32(0.0), deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_borrowed_str(""), deserialize_string => visit_borrowed_str(""),
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items(items.iter())),
            Value::Object(_) => self.deserialize_map(visitor),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items([].iter())),
            Value::Array(items) => visitor.visit_seq(Items(items.iter())),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        // A fixed Go array takes what fits: missing items are zero, further ones are dropped.
        static NULL: Value = Value::Null;
        match self.0 {
            Value::Null => visitor.visit_seq(Fixed((0..len).map(|_| &NULL))),
            Value::Array(items) => {
                visitor.visit_seq(Fixed((0..len).map(|at| items.get(at).unwrap_or(&NULL))))
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = match self.0 {
            Value::Null => Vec::new(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            other => return Err(unexpected(other, &visitor)),
        };
        visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let map = match self.0 {
            Value::Null => {
                return visitor.visit_map(Entries { entries: Vec::new().into_iter(), value: None });
            }
            Value::Object(map) => map,
            other => return Err(unexpected(other, &visitor)),
        };
        let mut entries: Vec<(&'de str, &'de Value)> = Vec::with_capacity(map.len());
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            let exact = fields.iter().find(|field| *field == key);
            let Some(field) = exact.or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(key)))
            else {
                continue;
            };
            entries.retain(|(seen, _)| seen != field);
            entries.push((field, value));
        }
        visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { i128 u128 char bytes byte_buf unit unit_struct tuple_struct identifier }
}

fn unexpected<'de, V: Visitor<'de>>(found: &Value, wanted: &V) -> Error {
    use serde::de::Unexpected;
    let found = match found {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => number
            .as_i64()
            .map(Unexpected::Signed)
            .unwrap_or(Unexpected::Float(number.as_f64().unwrap_or_default())),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    };
    Error::invalid_type(found, wanted)
}

struct Items<'de>(std::slice::Iter<'de, Value>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(GoValue(value))).transpose()
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Fixed<I>(I);

impl<'de, I: Iterator<Item = &'de Value>> SeqAccess<'de> for Fixed<I> {
    type Error = Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|value| seed.deserialize(GoValue(value))).transpose()
    }
}

struct Entries<'de> {
    entries: std::vec::IntoIter<(&'de str, &'de Value)>,
    value: Option<&'de Value>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(MapKey(key)).map(Some)
    }
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("value asked for before its key"))?;
        seed.deserialize(GoValue(value))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A key: a string, or a number written as one when the map's keys are numbers.
struct MapKey<'de>(&'de str);

impl<'de> Deserializer<'de> for MapKey<'de> {
    type Error = Error;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        StrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    struct Inner {
        memory: i64,
        weight: Option<u16>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(remote = "Self", default, rename_all = "PascalCase")]
    struct Outer {
        name: String,
        list: Vec<String>,
        map: BTreeMap<String, i64>,
        #[serde(flatten, skip_deserializing)]
        inner: Inner,
        size: [u32; 2],
        #[serde(deserialize_with = "strings")]
        cmd: Option<Vec<String>>,
    }

    impl Default for Outer {
        fn default() -> Outer {
            let (list, map) = (Vec::new(), BTreeMap::new());
            Outer { name: "unset".into(), list, map, inner: Inner::default(), size: [0; 2], cmd: None }
        }
    }

    embeds!(Outer { inner });

    fn check(text: &str, expected: &str) {
        let printed = match from_slice::<Outer>(text.as_bytes()) {
            Ok(outer) => serde_json::to_string(&outer).unwrap(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(printed, expected, "{text}");
    }

    #[test]
    fn reads_as_go_reads() {
        let empty = r#"{"Name":"unset","List":[],"Map":{},"Memory":0,"Weight":null,"Size":[0,0],"Cmd":null}"#;
        check("{}", empty);
        check("null", empty);
        check(
            r#"{"name":null,"LIST":null,"map":null,"memory":null,"Size":null,"cmd":null,"what":[1]}"#,
            empty,
        );
        check(
            r#"{"NAME":"a","list":["x",null],"map":{"k":null,"K":2},"MEMORY":7,"weight":3,"size":[1],"cmd":"sh"}"#,
            r#"{"Name":"a","List":["x",""],"Map":{"K":2,"k":0},"Memory":7,"Weight":3,"Size":[1,0],"Cmd":["sh"]}"#,
        );
        check(
            r#"{"name":"first","Name":"last","size":[1,2,3],"cmd":[]}"#,
            r#"{"Name":"last","List":[],"Map":{},"Memory":0,"Weight":null,"Size":[1,2],"Cmd":[]}"#,
        );
    }

    #[test]
    fn refuses_what_go_refuses() {
        check("[]", "error: invalid type: sequence, expected struct Outer");
        check("{} x", "error: trailing characters at line 1 column 4");
        check(r#"{"memory":"1"}"#, r#"error: invalid type: string "1", expected i64"#);
        check(r#"{"memory":1.5}"#, "error: invalid type: floating point `1.5`, expected i64");
        check(r#"{"list":{}}"#, "error: invalid type: map, expected a sequence");
        check(r#"{"weight":65536}"#, "error: invalid value: integer `65536`, expected u16");
        check(
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
            "error: recursion limit exceeded at line 1 column 128",
        );
    }

    #[test]
    fn writes_as_go_writes() {
        assert_eq!(to_vec(&serde_json::json!({"a": "<&>"})).unwrap(), b"{\"a\":\"<&>\"}\n");
    }
}
