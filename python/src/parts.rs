//! A pickled object on its way: the pickle, and the buffers that lie beside it.

use bytes::Bytes;
use pyo3::{
    prelude::*,
    pybacked::PyBackedBytes,
    types::{PyByteArray, PyBytes, PyList},
};
use rankpool::Block;
use serde::{Deserialize, Serialize};

/// Buffers of this size are sent from where Python has them; smaller ones are copied.
const LARGE: usize = 1 << 16;

/// The pickle first, then its buffers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parts(Vec<Block<u8>>);

impl Parts {
    pub(crate) fn from_python(parts: &Bound<'_, PyList>) -> PyResult<Parts> {
        let block = |part: Bound<'_, PyAny>| -> PyResult<Block<u8>> {
            let part = part.cast_into::<PyBytes>()?;
            if part.as_bytes().len() < LARGE {
                return Ok(part.as_bytes().to_vec().into());
            }
            Ok(Bytes::from_owner(PyBackedBytes::from(part)).into())
        };
        parts.iter().map(block).collect::<PyResult<_>>().map(Parts)
    }

    /// The pickle as `bytes`, and the buffers as memory that may be written to, as unpickled arrays may.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let Some((pickle, buffers)) = self.0.split_first() else { return Ok(PyList::empty(py)) };
        let parts = PyList::new(py, [PyBytes::new(py, pickle)])?;
        for buffer in buffers {
            parts.append(PyByteArray::new(py, buffer))?;
        }
        Ok(parts)
    }
}
