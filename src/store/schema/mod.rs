//! The type of a row, found out from its serde type, and what follows from it: how the bytes of an
//! encoded row are to be read, what a missing row is filled with, how a row looks as JSON.
//!
//! Rows are kept as the codec encodes them, which is as HDF5 lays out a packed compound: fixed-width
//! little-endian numbers one after the other. A type without variable parts is therefore written to
//! the file as it came from the worker.

mod infer;
mod read;
mod trial;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use infer::Unfit;
pub(crate) use read::{Malformed, json, take, take_char, take_length, take_text, walk};

/// A number of a fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

impl Scalar {
    pub(crate) fn size(self) -> usize {
        match self {
            Scalar::Bool | Scalar::I8 | Scalar::U8 => 1,
            Scalar::I16 | Scalar::U16 => 2,
            Scalar::I32 | Scalar::U32 | Scalar::F32 => 4,
            Scalar::I64 | Scalar::U64 | Scalar::F64 => 8,
        }
    }
}

/// Whether a field or a variant can have this name in a file, or a dataset or a group, whose name is a `step` of a path.
pub(crate) fn can_be_named(name: &str, step: bool) -> bool {
    !(name.is_empty() || name.contains('\0') || (step && (name == "." || name.contains('/'))))
}

/// The name of the dataset that says which options of another one have a value.
pub(crate) fn mask_name(name: &str) -> String {
    format!("{name}_present")
}

/// Makes sure that no field has the name of an option's mask.
fn check_masks(fields: &[(String, Schema)]) -> Result<(), String> {
    let masked =
        |of: &Schema| matches!(of, Schema::Option(of) if of.fixed_size().is_some_and(|size| size > 0));
    for (name, _) in fields.iter().filter(|(_, of)| masked(of)) {
        let mask = mask_name(name);
        if fields.iter().any(|(name, _)| *name == mask) {
            return Err(format!(
                "a field cannot be named {mask:?}: the file says there which values of the option {name:?} are \
                 present; choose another name for it"
            ));
        }
    }
    Ok(())
}

fn misplaced(place: &str) -> String {
    format!(
        "there is a Record inside of something else{place}; it has its place as the whole output, or as a field of \
         its outermost struct"
    )
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Schema {
    Scalar(Scalar),
    /// One of several names; a `u32` in the row.
    Enum(Vec<String>),
    /// A fixed number of equal values: a Rust array.
    Array(Box<Schema>, u64),
    /// Named values: a struct, or a tuple with the names `0`, `1` and so on.
    Struct(Vec<(String, Schema)>),
    /// Any number of equal values.
    List(Box<Schema>),
    /// Numbers in bulk, behind their size in bytes.
    Block(Box<Schema>),
    /// A value or none.
    Option(Box<Schema>),
    Text,
    /// One character, of one to four bytes.
    Char,
    /// Bytes that are mostly text.
    RawText,
    /// A JSON object, as text; its columns are found out as rows come.
    Record,
}

impl Schema {
    /// The schema of a type.
    ///
    /// # Errors
    /// What the type has that no file can hold, or that cannot even be sent.
    pub(crate) fn of<T: DeserializeOwned>() -> Result<Schema, Unfit> {
        infer::infer::<T>()
    }

    /// Tries whether values of the type come back as they were sent.
    ///
    /// # Errors
    /// What the type has that does not, as text.
    pub(crate) fn try_out<T: Serialize + DeserializeOwned>(&self) -> Result<(), String> {
        trial::try_out::<T>(self)
    }

    /// Makes sure that HDF5 can have the names of all fields and variants.
    ///
    /// # Errors
    /// The name that it cannot have, as text.
    pub(crate) fn check_names(&self) -> Result<(), String> {
        // Where rows are of no one size, each field is a dataset or a group, whose name is a step of a path.
        let steps = self.fixed_size().is_none();
        let check = |what: &str, names: &[&String]| {
            for (at, &name) in names.iter().enumerate() {
                if !can_be_named(name, steps) {
                    return Err(format!("a {what} cannot be named {name:?}; choose another name for it"));
                }
                if names[..at].contains(&name) {
                    return Err(format!("two {what}s are named {name:?}; give each a name of its own"));
                }
            }
            Ok(())
        };
        match self {
            Schema::Struct(fields) => {
                check("field", &fields.iter().map(|(name, _)| name).collect::<Vec<_>>())?;
                check_masks(fields)?;
                fields.iter().try_for_each(|(_, of)| of.check_names())
            }
            Schema::Enum(names) => check("variant", &names.iter().collect::<Vec<_>>()),
            Schema::Option(of) | Schema::List(of) | Schema::Array(of, _) | Schema::Block(of) => {
                of.check_names()
            }
            Schema::Scalar(_) | Schema::Text | Schema::Char | Schema::RawText | Schema::Record => Ok(()),
        }
    }

    /// Makes sure that records are where their columns have a place.
    ///
    /// # Errors
    /// Where there is one that has none, as text.
    pub(crate) fn check_records(&self) -> Result<(), String> {
        let fields = match self {
            Schema::Struct(fields) => fields.as_slice(),
            Schema::Record => return Ok(()),
            other => return if other.holds(&Schema::Record) { Err(misplaced("")) } else { Ok(()) },
        };
        let bad = fields.iter().find(|(_, of)| *of != Schema::Record && of.holds(&Schema::Record));
        bad.map_or(Ok(()), |(name, _)| Err(misplaced(&format!(" in the field `{name}`"))))
    }

    /// Whether a value of this type has one of the type `wanted` inside.
    pub(crate) fn holds(&self, wanted: &Schema) -> bool {
        self == wanted || self.parts().any(|part| part.holds(wanted))
    }

    /// Whether there are numbers in bulk inside.
    pub(crate) fn holds_blocks(&self) -> bool {
        matches!(self, Schema::Block(_)) || self.parts().any(Schema::holds_blocks)
    }

    fn parts(&self) -> impl Iterator<Item = &Schema> {
        let (one, fields) = match self {
            Schema::Array(of, _) | Schema::List(of) | Schema::Block(of) | Schema::Option(of) => {
                (Some(&**of), &[][..])
            }
            Schema::Struct(fields) => (None, fields.as_slice()),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(fields.iter().map(|(_, field)| field))
    }

    /// Bytes of a value, where all values are of one size.
    pub(crate) fn fixed_size(&self) -> Option<usize> {
        match self {
            Schema::Scalar(scalar) => Some(scalar.size()),
            Schema::Enum(_) => Some(4),
            Schema::Array(of, count) => of.fixed_size()?.checked_mul(usize::try_from(*count).ok()?),
            Schema::Struct(fields) => fields.iter().map(|(_, field)| field.fixed_size()).sum(),
            Schema::List(_) | Schema::Block(_) | Schema::Option(_) => None,
            Schema::Text | Schema::Char | Schema::RawText | Schema::Record => None,
        }
    }

    /// Appends what stands in the place of a value that is missing: not a number, 0, nothing.
    pub(crate) fn fill(&self, out: &mut Vec<u8>) {
        match self {
            Schema::Scalar(Scalar::F32) => out.extend_from_slice(&f32::NAN.to_le_bytes()),
            Schema::Scalar(Scalar::F64) => out.extend_from_slice(&f64::NAN.to_le_bytes()),
            Schema::Scalar(scalar) => out.resize(out.len() + scalar.size(), 0),
            Schema::Enum(_) => out.extend_from_slice(&[0; 4]),
            Schema::Array(of, count) => (0..*count).for_each(|_| of.fill(out)),
            Schema::Struct(fields) => fields.iter().for_each(|(_, field)| field.fill(out)),
            // No text is no record: its columns are filled, each as its type says.
            Schema::List(_) | Schema::Block(_) | Schema::Text | Schema::RawText | Schema::Record => {
                out.extend_from_slice(&[0; 8]);
            }
            Schema::Option(_) => out.push(0),
            Schema::Char => out.push(b' '),
        }
    }
}
