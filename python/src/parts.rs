//! A pickled object on its way: the pickle, the buffers that lie beside it, and the scattered values in it.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use pyo3::{
    prelude::*,
    pybacked::PyBackedBytes,
    sync::PyOnceLock,
    types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyTuple},
};
use rankpool::{Block, Scattered};
use serde::{Deserialize, Serialize};

/// Buffers of this size are sent from the `bytes` that Python has made of them; smaller ones are copied.
const LARGE: usize = 1 << 16;

/// Numbers in memory that Python allocates begin at a multiple of this, and so must those of an array: on others numpy is
/// slow, and adds up in another order.
const ALIGNMENT: usize = 16;

/// What a message has before a pickle and between it and the first buffer, beside what comes before [`Parts`]: three
/// lengths.
const BESIDE: usize = 24;

/// The pickle first, then its buffers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parts {
    blocks: Vec<Block<u8>>,
    scattered: Vec<Scattered<Held>>,
}

/// A scattered value, and the object that it is once a process has unpickled it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    blocks: Vec<Block<u8>>,
    #[serde(skip)]
    object: OnceLock<Py<PyAny>>,
}

/// What rank 0 has of a scattered value.
#[pyclass(frozen, module = "rankpool._rankpool")]
pub(crate) struct Handle(pub(crate) Scattered<Held>);

impl Held {
    pub(crate) fn from_python(parts: &Bound<'_, PyList>) -> PyResult<Held> {
        Ok(Held { blocks: Parts::from_python(parts, 0)?.blocks, object: OnceLock::new() })
    }

    fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(object) = self.object.get() {
            return Ok(object.bind(py).clone());
        }
        let loads = py.import("rankpool._pickling")?.getattr("loads")?;
        // All tasks of this process have it, so its arrays are not to be written to.
        let parts = PyList::new(py, self.blocks.iter().map(|part| PyBytes::new(py, part)))?;
        let object = loads.call1((parts,))?.unbind();
        Ok(self.object.get_or_init(|| object).bind(py).clone())
    }
}

impl Parts {
    /// Of a list of `bytes`, and of the [`Handle`]s of the scattered values that the pickle names by their places; in a
    /// message, so many bytes of a task's item come before them.
    pub(crate) fn from_python(list: &Bound<'_, PyList>, before: usize) -> PyResult<Parts> {
        let mut parts = Parts::default();
        for part in list.iter() {
            match part.cast_into::<PyBytes>() {
                Ok(part) if part.as_bytes().len() < LARGE => {
                    let mut bytes = part.as_bytes().to_vec();
                    if parts.blocks.is_empty() && list.len() > 1 {
                        // The first buffer comes to lie where an array may. What follows a pickle's end is not read.
                        let end = before + BESIDE + bytes.len();
                        bytes.resize(bytes.len() + end.next_multiple_of(ALIGNMENT) - end, 0);
                    }
                    parts.blocks.push(bytes.into())
                }
                Ok(part) => parts.blocks.push(Bytes::from_owner(PyBackedBytes::from(part)).into()),
                Err(other) => parts.scattered.push(other.into_inner().cast::<Handle>()?.get().0.clone()),
            }
        }
        Ok(parts)
    }

    /// The pickle as `bytes`, the buffers as memory that may be written to, as unpickled arrays may, and the scattered
    /// values as a tuple, if there are any.
    pub(crate) fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.with_scattered(to_python(py, &self.blocks)?)
    }

    /// The same, with the buffers where they lie, if they can stay there.
    pub(crate) fn into_python(mut self, py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
        let buffers = self.blocks.split_off(self.blocks.len().min(1));
        let parts = to_python(py, &self.blocks)?;
        for buffer in buffers {
            parts.append(writable(py, buffer)?)?;
        }
        self.with_scattered(parts)
    }

    fn with_scattered<'py>(&self, parts: Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        if !self.scattered.is_empty() {
            let objects = self.scattered.iter().map(|held| held.object(parts.py()));
            parts.append(PyTuple::new(parts.py(), objects.collect::<PyResult<Vec<_>>>()?)?)?;
        }
        Ok(parts)
    }
}

fn to_python<'py>(py: Python<'py>, blocks: &[Block<u8>]) -> PyResult<Bound<'py, PyList>> {
    let Some((pickle, buffers)) = blocks.split_first() else { return Ok(PyList::empty(py)) };
    let parts = PyList::new(py, [PyBytes::new(py, pickle)])?;
    for buffer in buffers {
        parts.append(PyByteArray::new(py, buffer))?;
    }
    Ok(parts)
}

/// A buffer as memory that may be written to: where it lies, if it can.
fn writable(py: Python<'_>, buffer: Block<u8>) -> PyResult<Bound<'_, PyAny>> {
    static AS_ARRAY: PyOnceLock<Option<Py<PyAny>>> = PyOnceLock::new();
    let aligned = buffer.as_ptr().addr().is_multiple_of(ALIGNMENT);
    // The first array that a worker gets may be what loads numpy.
    let loaded = || py.import("sys")?.getattr("modules")?.contains("numpy");
    if buffer.len() >= LARGE && aligned && (AS_ARRAY.get(py).is_some() || loaded()?) {
        let found = || py.import("numpy").and_then(|numpy| numpy.getattr("asarray")).ok().map(Bound::unbind);
        if let Some(as_array) = AS_ARRAY.get_or_init(py, found) {
            let mut bytes = BytesMut::from(buffer);
            let memory = Memory { address: bytes.as_mut_ptr().addr(), bytes };
            return Ok(PyMemoryView::from(&as_array.bind(py).call1((memory,))?)?.into_any());
        }
    }
    Ok(PyByteArray::new(py, &buffer).into_any())
}

/// Memory that came from another process, for whoever unpickles it. In the stable interface of Python 3.9, numpy's
/// protocol is the only one that lends memory that may be written to.
#[pyclass(frozen, module = "rankpool._rankpool")]
struct Memory {
    address: usize,
    /// Nobody else's.
    bytes: BytesMut,
}

#[pymethods]
impl Memory {
    /// Where it lies, as numpy asks for it.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let interface = PyDict::new(py);
        interface.set_item("version", 3)?;
        interface.set_item("typestr", "|u1")?;
        interface.set_item("shape", (self.bytes.len(),))?;
        // `false`: it may be written to. It lives as long as this object, which the array keeps.
        interface.set_item("data", (self.address, false))?;
        Ok(interface)
    }
}
