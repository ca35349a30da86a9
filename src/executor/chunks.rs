//! Functions that are called for a chunk at a time.

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Executor};
use crate::worker::{Chunks, ChunksWith, Function, Tasks};

impl Executor {
    /// `f(&mut tasks)` as a call: `f` is called once for each chunk, and takes its tasks one after another. For what is
    /// worth doing once for many tasks, such as to enter an interpreter, and where failures are to carry more than text.
    ///
    /// ```
    /// use rankpool::Tasks;
    /// let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let halves = |tasks: &mut Tasks<u64, u64>| {
    ///     let mut text = String::new(); // Used again for each task of the chunk.
    ///     while let Some(n) = tasks.take() {
    ///         text.clear();
    ///         text.push_str(&n.to_string());
    ///         match n % 2 {
    ///             0 => tasks.give(n / 2),
    ///             _ => tasks.fail_with("it is odd", text.clone().into_bytes()),
    ///         }
    ///     }
    /// };
    /// let outcomes = pool.call_chunks(halves).outcomes([4, 7])?;
    /// assert_eq!(outcomes[0], Ok(2));
    /// let error = outcomes[1].as_ref().unwrap_err();
    /// assert_eq!((error.message(), error.details()), ("it is odd", Some(&b"7"[..])));
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    pub fn call_chunks<F, A, R>(&self, _: F) -> Call<'_, impl Function<Item = A, Value = R> + use<F, A, R>>
    where
        F: Fn(&mut Tasks<'_, A, R>) + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        Call::<Chunks<F, A, R>>::new(self, Ok(None))
    }

    /// `f(&shared, &mut tasks)` as a call: as [`call_chunks`](Executor::call_chunks), with a value that is sent once to each
    /// worker.
    pub fn call_chunks_with<F, S, A, R>(
        &self,
        shared: &S,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, S, A, R>>
    where
        F: Fn(&S, &mut Tasks<'_, A, R>) + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        Call::<ChunksWith<F, S, A, R>>::new(self, self.original("the shared value", shared).map(Some))
    }
}
