//! Stands in for the result file in a program that was built without HDF5: it refuses to begin one.

use std::{path::Path, rc::Rc};

use serde::Serialize;

use super::{Attempt, TraceBlock, events::EventTable, schema::Schema};
use crate::{error::Error, paths::Named, rows::Rows, wire::Piece};

fn refused<T>() -> Result<T, Error> {
    Err(Error::usage(
        "this program was built without HDF5: build it with the feature `hdf5` for result files",
    ))
}

/// No file can be made.
#[derive(Clone, Debug)]
pub(crate) enum Target {}

impl Target {
    pub(crate) fn reserve(_: &Named, _: &str, _: bool) -> Result<Target, Error> {
        refused()
    }

    pub(crate) fn folder(&self) -> Rc<Path> {
        match *self {}
    }
}

/// There is no file that could have a list of inputs.
pub(crate) struct Inputs;

impl Inputs {
    pub(crate) fn new(_: Schema, _: Rc<Path>) -> Inputs {
        Inputs
    }

    pub(crate) fn push<T: Serialize>(&mut self, _: &T) {}
}

pub(crate) enum Attribute {
    Text(String),
    Texts(Vec<String>),
    Whole(u64),
    Real(f64),
}

pub(crate) fn check(_: &Schema, _: &Rows, _: Option<u64>) -> Result<(), Error> {
    refused()
}

/// There is no file that rows could fit.
pub(crate) enum Fit {}

impl Fit {
    pub(crate) fn new(_: &Schema, _: &Rows) -> Result<Fit, Error> {
        refused()
    }

    pub(crate) fn check(&self, _: &Piece) -> Result<(), Error> {
        match *self {}
    }
}

/// There is none.
pub(crate) enum ResultFile {}

impl ResultFile {
    pub(crate) fn create(target: Target, _: Schema, _: Rows, _: u8) -> Result<ResultFile, Error> {
        match target {}
    }

    pub(crate) fn append(&mut self, _: &Piece) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn attempt(&mut self, _: &Attempt) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn trace(&mut self, _: &TraceBlock) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn events(&mut self, _: &EventTable) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn inputs(&mut self, _: Inputs, _: u64) -> Result<(), Error> {
        match *self {}
    }

    pub(crate) fn finish(self, _: u64, _: &[(&str, Attribute)]) -> Result<(), Error> {
        match self {}
    }
}
