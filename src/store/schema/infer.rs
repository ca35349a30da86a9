//! Finds a type's schema by letting it decode itself from nothing: a deserializer that takes down what
//! it is asked for, and answers with ones, empty texts and lists of one.
//!
//! The idea is that of the crate serde-reflection; this one knows only what a row may have.

use std::{cell::RefCell, collections::HashMap, fmt};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};

use super::{Scalar, Schema};
use crate::wire::{RawText, Record, element_of_block};

/// A type may be nested so deep; one that holds itself never ends.
const DEEPEST: usize = 32;

/// Why a type cannot be laid out.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// A file cannot hold it, but it can be sent.
    ForFile(String),
    /// It cannot be sent either: the codec writes no types.
    ForWire,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::ForFile(why) => f.write_str(why),
            Unfit::ForWire => f.write_str(
                "it holds a value whose type shows only as it is read, as by serde's untagged, tag and flatten, or a \
                 JSON value; use a type of your own",
            ),
        }
    }
}

impl std::error::Error for Unfit {}

impl de::Error for Unfit {
    fn custom<T: fmt::Display>(message: T) -> Unfit {
        // A visitor or a type's own check, which may be right about real values.
        Unfit::ForFile(format!(
            "its Deserialize refuses the values that its type is found out with, such as 1: {message}"
        ))
    }
}

/// Which variant each enum is asked for next.
type Variants = RefCell<HashMap<&'static str, u32>>;

pub(super) fn infer<T: DeserializeOwned>() -> Result<Schema, Unfit> {
    let variants = Variants::default();
    loop {
        let before = variants.borrow().clone();
        let mut found = None;
        let trace = Tracer { found: &mut found, variants: &variants, depth: 0 };
        T::deserialize(trace)?;
        // Every variant of every enum is tried: none may hold anything.
        if *variants.borrow() == before {
            return found.ok_or_else(|| Unfit::ForFile("it asks for nothing".into()));
        }
    }
}

struct Tracer<'t> {
    found: &'t mut Option<Schema>,
    variants: &'t Variants,
    depth: usize,
}

impl<'t> Tracer<'t> {
    fn inner<'s>(&'s self, found: &'s mut Option<Schema>) -> Result<Tracer<'s>, Unfit> {
        if self.depth == DEEPEST {
            return Err(Unfit::ForFile("it is nested too deep, or holds itself".into()));
        }
        Ok(Tracer { found, variants: self.variants, depth: self.depth + 1 })
    }

    fn unfit<T>(what: &str, instead: &str) -> Result<T, Unfit> {
        Err(Unfit::ForFile(format!("{what} has no place in a result file; use {instead}")))
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $scalar:ident $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
            *self.found = Some(Schema::Scalar(Scalar::$scalar));
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Unfit;

    scalars! {
        deserialize_bool visit_bool Bool true;
        deserialize_i8 visit_i8 I8 1;
        deserialize_i16 visit_i16 I16 1;
        deserialize_i32 visit_i32 I32 1;
        deserialize_i64 visit_i64 I64 1;
        deserialize_u8 visit_u8 U8 1;
        deserialize_u16 visit_u16 U16 1;
        deserialize_u32 visit_u32 U32 1;
        deserialize_u64 visit_u64 U64 1;
        deserialize_f32 visit_f32 F32 1.0;
        deserialize_f64 visit_f64 F64 1.0;
    }

    fn deserialize_i128<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Tracer::unfit("a number of 128 bits", "i64 or f64")
    }

    fn deserialize_u128<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Tracer::unfit("a number of 128 bits", "u64 or f64")
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit::ForWire)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_any(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        *self.found = Some(Schema::Char);
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        *self.found = Some(Schema::Text);
        visitor.visit_str("")
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        *self.found = Some(Schema::Block(Box::new(Schema::Scalar(Scalar::U8))));
        visitor.visit_bytes(&[])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let mut of = None;
        let value = visitor.visit_some(self.inner(&mut of)?)?;
        *self.found = of.map(|of| Schema::Option(Box::new(of)));
        Ok(value)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        *self.found = Some(Schema::Struct(Vec::new()));
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let known = match (name, element_of_block(name)) {
            (Record::NAME, _) => Schema::Record,
            (RawText::NAME, _) => Schema::RawText,
            (_, Some(element)) => Schema::Block(Box::new(Schema::Scalar(number(element)?))),
            _ => return visitor.visit_newtype_struct(self),
        };
        let value = visitor.visit_newtype_struct(Tracer { found: self.found, ..self })?;
        *self.found = Some(known);
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let mut of = None;
        let value = visitor.visit_seq(Elements {
            tracer: self.inner(&mut of)?,
            names: None,
            left: 1,
            fields: None,
        })?;
        *self.found = of.map(|of| Schema::List(Box::new(of)));
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        let mut fields = Vec::new();
        let mut last = None;
        let tracer = self.inner(&mut last)?;
        let value =
            visitor.visit_seq(Elements { tracer, names: None, left: length, fields: Some(&mut fields) })?;
        // An array; a tuple of equal types is one as well.
        let equal = fields.windows(2).all(|pair| pair[0].1 == pair[1].1);
        *self.found = Some(match fields.pop() {
            Some((_, of)) if equal => Schema::Array(Box::new(of), length as u64),
            Some(field) => {
                fields.push(field);
                Schema::Struct(fields)
            }
            None => Schema::Struct(fields),
        });
        Ok(value)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        let (mut key, mut value) = (None, None);
        let entry = OneEntry { key: Some(self.inner(&mut key)?), value: Some(self.inner(&mut value)?) };
        let map = visitor.visit_map(entry)?;
        if let (Some(key), Some(value)) = (key, value) {
            let entry = Schema::Struct(vec![("key".into(), key), ("value".into(), value)]);
            *self.found = Some(Schema::List(Box::new(entry)));
        }
        Ok(map)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let mut fields = Vec::new();
        let mut last = None;
        let tracer = self.inner(&mut last)?;
        let elements = Elements { tracer, names: Some(names), left: names.len(), fields: Some(&mut fields) };
        let value = visitor.visit_seq(elements)?;
        *self.found = Some(Schema::Struct(fields));
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        *self.found = Some(Schema::Enum(names.iter().map(ToString::to_string).collect()));
        let last = names.len().saturating_sub(1) as u32;
        let mut variants = self.variants.borrow_mut();
        let next = variants.get(name).map_or(0, |tried| (tried + 1).min(last));
        variants.insert(name, next);
        drop(variants);
        visitor.visit_enum(Variant { index: next, name })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The numbers of a block.
fn number(element: &str) -> Result<Scalar, Unfit> {
    Ok(match element {
        "i8" => Scalar::I8,
        "i16" => Scalar::I16,
        "i32" => Scalar::I32,
        "i64" => Scalar::I64,
        "u8" => Scalar::U8,
        "u16" => Scalar::U16,
        "u32" => Scalar::U32,
        "u64" => Scalar::U64,
        "f32" => Scalar::F32,
        "f64" => Scalar::F64,
        _ => {
            return Tracer::unfit(
                "a Block of anything but numbers",
                "a Block of integers or floats, or a Vec",
            );
        }
    })
}

/// Values one after the other: one for a list, each in its place for a tuple or a struct.
struct Elements<'t, 'f> {
    tracer: Tracer<'t>,
    names: Option<&'static [&'static str]>,
    left: usize,
    fields: Option<&'f mut Vec<(String, Schema)>>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Unfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Unfit> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let Tracer { found, variants, depth } = &mut self.tracer;
        let value = seed.deserialize(Tracer { found, variants, depth: *depth })?;
        if let Some(fields) = &mut self.fields
            && let Some(schema) = self.tracer.found.take()
        {
            let at = fields.len();
            let name = self
                .names
                .and_then(|names| names.get(at))
                .map_or_else(|| at.to_string(), ToString::to_string);
            fields.push((name, schema));
        }
        Ok(Some(value))
    }
}

/// The one entry of a map.
struct OneEntry<'t> {
    key: Option<Tracer<'t>>,
    value: Option<Tracer<'t>>,
}

impl<'de> MapAccess<'de> for OneEntry<'_> {
    type Error = Unfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Unfit> {
        self.key.take().map(|key| seed.deserialize(key)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Unfit> {
        let value =
            self.value.take().ok_or_else(|| Unfit::ForFile("a map that asks for two values".into()))?;
        seed.deserialize(value)
    }
}

/// A variant that must hold nothing.
struct Variant {
    index: u32,
    name: &'static str,
}

impl Variant {
    fn holds_something<T>(&self) -> Result<T, Unfit> {
        let what = format!("the enum {}, whose variants hold values,", self.name);
        Tracer::unfit(&what, "a struct, with an Option for what may be missing")
    }
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Unfit;
    type Variant = Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Variant), Unfit> {
        let index = de::IntoDeserializer::<Unfit>::into_deserializer(self.index);
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Unfit> {
        self.holds_something()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Unfit> {
        self.holds_something()
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Unfit> {
        self.holds_something()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::{
        store::schema,
        wire::{Block, encode},
    };

    #[derive(Clone, Copy, Serialize, Deserialize)]
    enum Colour {
        Red,
        Green,
        Blue,
    }

    #[derive(Serialize, Deserialize)]
    struct Row {
        rate: f64,
        pair: [i16; 2],
        colour: Colour,
        label: String,
        counts: Vec<u32>,
        image: Block<f32>,
        maybe: Option<u8>,
        words: BTreeMap<String, u64>,
        mark: char,
        nested: (bool, Vec<(u8, String)>),
        nothing: (),
    }

    fn row() -> Row {
        Row {
            rate: 2.5,
            pair: [-1, 7],
            colour: Colour::Blue,
            label: "caf\u{e9}".into(),
            counts: vec![3, 4],
            image: vec![0.5, 1.5].into(),
            maybe: Some(9),
            words: [("a".to_string(), 1), ("b".to_string(), 2)].into(),
            mark: '\u{20ac}',
            nested: (true, vec![(1, "x".into())]),
            nothing: (),
        }
    }

    #[test]
    fn a_row_of_everything_is_shown_as_it_is() {
        let schema = Schema::of::<Row>().unwrap();
        let encoded = encode(&row()).unwrap();
        let mut bytes = encoded.as_slice();
        let shown = schema::json(&schema, &mut bytes).unwrap();
        assert!(bytes.is_empty());
        let expected = json!({
            "rate": 2.5, "pair": [-1, 7], "colour": "Blue", "label": "caf\u{e9}", "counts": [3, 4],
            "image": [0.5, 1.5], "maybe": 9,
            "words": [{"key": "a", "value": 1}, {"key": "b", "value": 2}],
            "mark": "\u{20ac}", "nested": {"0": true, "1": [{"0": 1, "1": "x"}]}, "nothing": {},
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_cut_of_a_row_is_malformed_and_none_panics() {
        let schema = Schema::of::<Row>().unwrap();
        let encoded = encode(&row()).unwrap();
        for cut in 0..encoded.len() {
            assert!(schema::json(&schema, &mut &encoded[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_fill_value_is_a_value_of_the_type() {
        let schema = Schema::of::<Row>().unwrap();
        let mut fill = Vec::new();
        schema.fill(&mut fill);
        let row: Row = crate::wire::decode(&fill).unwrap();
        assert!(row.rate.is_nan() && row.label.is_empty() && row.maybe.is_none());
    }

    #[test]
    fn fixed_types_have_a_size_and_others_none() {
        assert_eq!(Schema::of::<f64>().unwrap().fixed_size(), Some(8));
        assert_eq!(Schema::of::<(u8, [f32; 3])>().unwrap().fixed_size(), Some(13));
        assert_eq!(Schema::of::<()>().unwrap().fixed_size(), Some(0));
        assert_eq!(Schema::of::<(u8, String)>().unwrap().fixed_size(), None);
        assert_eq!(Schema::of::<std::num::NonZeroU64>().unwrap().fixed_size(), Some(8));
    }

    #[test]
    fn what_no_file_can_hold_is_named() {
        #[derive(Deserialize)]
        #[allow(dead_code)]
        enum Shape {
            Point,
            Circle(f64),
        }
        #[derive(Deserialize)]
        #[allow(dead_code)]
        struct Tree(Vec<Tree>);
        let unfit = |found: Result<Schema, Unfit>| found.unwrap_err().to_string();
        assert!(unfit(Schema::of::<u128>()).contains("128 bits"));
        assert!(unfit(Schema::of::<Vec<Shape>>()).contains("the enum Shape"));
        assert!(unfit(Schema::of::<Tree>()).contains("holds itself"));
        assert!(unfit(Schema::of::<serde_json::Value>()).contains("shows only as it is read"));
        assert!(unfit(Schema::of::<Block<[f64; 2]>>()).contains("Block"));
    }

    #[test]
    fn names_that_hdf5_cannot_have_are_told_of() {
        let number = || Schema::Scalar(Scalar::U8);
        let fields = |names: [&str; 2], of: fn() -> Schema| {
            Schema::Struct(names.map(|name| (name.to_string(), of())).into()).check_names()
        };

        for (names, of) in [
            (["a", ""], (|| Schema::Scalar(Scalar::U8)) as fn() -> Schema),
            (["a", "a"], || Schema::Scalar(Scalar::U8)),
            (["a", "b\0"], || Schema::Scalar(Scalar::U8)),
            (["a", "b/c"], || Schema::Text),
            (["a", "."], || Schema::Text),
        ] {
            assert!(fields(names, of).unwrap_err().contains(&format!("{:?}", names[1])), "{names:?}");
        }
        fields(["a/b", "."], || Schema::Scalar(Scalar::U8)).unwrap();
        let variants = |names: [&str; 2]| Schema::List(Schema::Enum(names.map(String::from).into()).into());
        variants(["A", "A"]).check_names().unwrap_err();
        variants(["A", "B/C"]).check_names().unwrap();
        number().check_names().unwrap();
    }
}
