//! Units and axes. Axes are dimension scales, which h5py, netCDF and xarray know. They are attributes
//! of fixed form (HDF5 Dimension Scale Specification, section 3), written here by hand: the library's
//! own calls are in a part of HDF5 that is not always installed.

use hdf5::{Dataset, File, H5Type, ObjectReference, ObjectReference1, types::VarLenArray};

use super::{Attribute, attribute, raw};
use crate::{
    rows::{Axis, Rows},
    store::schema::Schema,
};

/// A dataset that a scale is attached to, and the dimension.
#[derive(Clone, Copy, H5Type)]
#[repr(C)]
struct Attached {
    dataset: ObjectReference1,
    dimension: i32,
}

/// Writes units and axes to the file, whose datasets are complete.
pub(super) fn describe(file: &File, schema: &Schema, layout: &Rows) -> hdf5::Result<()> {
    units(file, schema, layout)?;
    let results = file.dataset("results").ok();
    let whole = results.is_some();
    if let Some(axis) = layout.tasks() {
        let target = if whole { "results" } else { "status" };
        let scale = scale(file, axis)?;
        attach(file, &scale, target, 0)?;
    }
    for (k, axis) in layout.row_axes().iter().enumerate().filter(|_| whole) {
        let scale = scale(file, axis)?;
        attach(file, &scale, "results", k + 1)?;
    }
    if let Some(results) = results {
        dimension_list(file, &results, layout)?;
    } else if let Some(axis) = layout.tasks() {
        list(file, &file.dataset("status")?, &[Some(axis)])?;
    }
    Ok(())
}

/// The attribute `units`: a text, or for a struct a text for each field.
fn units(file: &File, schema: &Schema, layout: &Rows) -> hdf5::Result<()> {
    let lists = |path: &str| match file.dataset(path) {
        Ok(dataset) => Ok(dataset),
        Err(_) => file.dataset(&format!("{path}/values")),
    };
    if let Some(unit) = layout.unit_of("") {
        let results = lists("results")?;
        attribute(&results, "units", &Attribute::Text(unit.into()))?;
    }
    let Schema::Struct(fields) = schema else {
        return Ok(());
    };
    let known: Vec<String> =
        fields.iter().map(|(name, _)| layout.unit_of(name).unwrap_or_default().to_string()).collect();
    if known.iter().all(String::is_empty) {
        return Ok(());
    }
    if let Ok(results) = file.dataset("results") {
        return attribute(&results, "units", &Attribute::Texts(known));
    }
    for ((name, _), unit) in fields.iter().zip(known).filter(|(_, unit)| !unit.is_empty()) {
        let dataset = lists(&format!("results/{name}"))?;
        attribute(&dataset, "units", &Attribute::Text(unit))?;
    }
    Ok(())
}

fn scale(file: &File, axis: &Axis) -> hdf5::Result<Dataset> {
    let dataset = file.new_dataset_builder().with_data(&axis.values).create(axis.name.as_str())?;
    if !axis.unit.is_empty() {
        attribute(&dataset, "units", &Attribute::Text(axis.unit.clone()))?;
    }
    raw::write_terminated(&dataset, "CLASS", "DIMENSION_SCALE")?;
    raw::write_terminated(&dataset, "NAME", &axis.name)?;
    Ok(dataset)
}

/// The scale's list of what it is attached to.
fn attach(file: &File, scale: &Dataset, target: &str, dimension: usize) -> hdf5::Result<()> {
    let dataset = ObjectReference1::create(file, target)?;
    let attached = [Attached { dataset, dimension: dimension as i32 }];
    scale.new_attr_builder().with_data(&attached).create("REFERENCE_LIST").map(drop)
}

/// The dataset's list of scales, a list for each of its dimensions.
fn dimension_list(file: &File, results: &Dataset, layout: &Rows) -> hdf5::Result<()> {
    let mut axes: Vec<Option<&Axis>> = vec![layout.tasks()];
    axes.extend(layout.row_axes().iter().map(Some));
    axes.resize(results.ndim(), None);
    list(file, results, &axes)
}

fn list(file: &File, dataset: &Dataset, axes: &[Option<&Axis>]) -> hdf5::Result<()> {
    if axes.iter().all(Option::is_none) {
        return Ok(());
    }
    let references = |axis: &Option<&Axis>| {
        let reference = axis.map(|axis| ObjectReference1::create(file, &axis.name)).transpose()?;
        Ok(VarLenArray::from_slice(&reference.into_iter().collect::<Vec<_>>()))
    };
    let lists = axes.iter().map(references).collect::<hdf5::Result<Vec<VarLenArray<ObjectReference1>>>>()?;
    dataset.new_attr_builder().with_data(&lists).create("DIMENSION_LIST").map(drop)
}
