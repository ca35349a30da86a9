//! The extension module of the Python package `rankpool`: what its Python files build on.
//!
//! Items, results and functions are bytes here, pickled and unpickled by `rankpool/_pickling.py`. The interpreter is
//! entered once for each chunk of tasks, and left while rank 0 waits.

mod cli;
mod errors;
mod executor;
mod future;
mod heap;
mod map;
mod parts;
mod work;

#[pyo3::pymodule]
mod _rankpool {
    #[pymodule_export]
    use super::{
        cli::{command_line, commands, is_worker},
        executor::{Engine, is_awaited, launched_ranks},
        future::Submitted,
        map::Map,
        parts::Handle,
    };

    /// Whether the package was built with MPI.
    #[pymodule_export]
    const HAS_MPI: bool = cfg!(feature = "mpi");

    /// The version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
