//! A shared library that brings its own workers: what a program in another language loads and calls.
//!
//! The program calls [`sum_of_squares`] on every rank, as it would call `Builder::start` in Rust: on the ranks that work
//! it does not return, and in mode `processes` the children, which are the same program, come to the same call.
//!
//! ```console
//! $ cargo build --example in_a_library
//! $ mpiexec -n 3 python3 -c "import ctypes
//! > library = ctypes.CDLL('target/debug/examples/libin_a_library.so')
//! > print(library.sum_of_squares(1000))"
//! 332833500
//! ```

use rankpool::Executor;

/// The sum of the squares of all numbers below `n`, computed in the mode that RANKPOOL_MODE names; -1 after an error,
/// which is printed.
#[unsafe(no_mangle)]
pub extern "C" fn sum_of_squares(n: i32) -> i32 {
    let sum = Executor::builder().from_env().start().and_then(|pool| {
        let squares = pool.map(|n: i32| n * n, 0..n)?;
        eprintln!("{} workers in mode {}", pool.workers().len(), pool.mode());
        Ok(squares.into_iter().sum())
    });
    sum.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        -1
    })
}
