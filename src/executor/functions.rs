//! What an executor is asked for: to run functions over items.

use serde::{Serialize, de::DeserializeOwned};

use super::{Call, Executor, Future};
use crate::{
    error::Error,
    worker::{AsItIs, Each, Fallible, Function, Init, Returned, Verdict, With},
};

impl Executor {
    /// `f` as a call whose options can be set: `pool.call(f).retries(2).map(items)`.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call<F, A, R, UseTryCall>(
        &self,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, A, R, UseTryCall>>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call`.
        UseTryCall: AsItIs<R>,
    {
        Call::<Each<UseTryCall, F, A, R>>::new(self, Ok(None))
    }

    /// As [`call`](Executor::call), for a function that returns a `Result`: an `Err` is its task's failure.
    pub fn try_call<F, A, R, E>(&self, _: F) -> Call<'_, impl Function<Item = A, Value = R> + use<F, A, R, E>>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        Call::<Each<Fallible, F, A, Result<R, E>>>::new(self, Ok(None))
    }

    /// `f(&shared, item)` as a call: `shared` is sent once to each worker, before its first chunk.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call_with<F, S, A, R, UseTryCall>(
        &self,
        shared: &S,
        f: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, S, A, R, UseTryCall>>
    where
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_with`.
        UseTryCall: AsItIs<R>,
    {
        self.with::<UseTryCall, F, S, A, R>(shared, f)
    }

    /// As [`call_with`](Executor::call_with), for a function that returns a `Result`.
    pub fn try_call_with<F, S, A, R, E>(
        &self,
        shared: &S,
        f: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<F, S, A, R, E>>
    where
        F: Fn(&S, A) -> Result<R, E> + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.with::<Fallible, F, S, A, Result<R, E>>(shared, f)
    }

    fn with<V, F, S, A, R>(&self, shared: &S, _: F) -> Call<'_, With<V, F, S, A, R>>
    where
        V: Verdict<R>,
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: 'static,
    {
        Call::new(self, self.original("the shared value", shared).map(Some))
    }

    /// `f(&mut state, item)` as a call, with a state that `init()` builds once on each worker (once
    /// on each of its threads, in a hybrid run). After a panic the state is built anew.
    #[expect(opaque_hidden_inferred_bound, reason = "AsItIs asks that R can be sent")]
    pub fn call_init<I, F, S, A, R, UseTryCall>(
        &self,
        _: I,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<I, F, S, A, R, UseTryCall>>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> R + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_init`.
        UseTryCall: AsItIs<R>,
    {
        Call::<Init<UseTryCall, I, F, S, A, R>>::new(self, Ok(None))
    }

    /// As [`call_init`](Executor::call_init), for a function that returns a `Result`.
    pub fn try_call_init<I, F, S, A, R, E>(
        &self,
        _: I,
        _: F,
    ) -> Call<'_, impl Function<Item = A, Value = R> + use<I, F, S, A, R, E>>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> Result<R, E> + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        Call::<Init<Fallible, I, F, S, A, Result<R, E>>>::new(self, Ok(None))
    }

    /// Runs `f` over all items; results in the order of the items.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// assert_eq!(pool.map(|n: u64| n * n, 1..=4)?, [1, 4, 9, 16]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// Items travel to other processes, so they own what they hold. References do not compile:
    ///
    /// ```compile_fail
    /// # let pool = rankpool::Executor::start().unwrap();
    /// let grid = vec![0.5, 1.0];
    /// pool.map(|x: &f64| x * x, &grid).unwrap(); // `&f64` cannot be decoded on a worker.
    /// ```
    ///
    /// ```compile_fail
    /// # let pool = rankpool::Executor::start().unwrap();
    /// pool.map(|name: &str| name.len(), ["north", "south"]).unwrap(); // Nor can `&str`.
    /// ```
    ///
    /// Write the owned type, and copy or clone what is to be kept:
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let grid = vec![0.5, 1.0];
    /// assert_eq!(pool.map(|x: f64| x * x, grid.iter().copied())?, [0.25, 1.0]);
    /// assert_eq!(pool.map(|name: String| name.len(), ["north", "east"].map(String::from))?, [5, 4]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first task that failed, in the order of the items. The executor stays usable.
    pub fn map<F, A, R, UseTryCall>(&self, f: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_map`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).map(items)
    }

    /// As [`map`](Executor::map), for a function that returns a `Result`: an `Err` is its task's failure.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let error = pool.try_map(|text: String| text.parse::<u32>(), ["7".into(), "x".into()]).unwrap_err();
    /// assert_eq!(error.task().unwrap().index(), 1);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map).
    pub fn try_map<F, A, R, E>(&self, f: F, items: impl IntoIterator<Item = A>) -> Result<Vec<R>, Error>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.try_call(f).map(items)
    }

    /// Runs `f(&shared, item)` over all items; `shared` is sent once to each worker.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let words = vec!["one".to_string(), "three".to_string()];
    /// assert_eq!(pool.map_with(&words, |words, k: usize| words[k].len(), [1, 0])?, [5, 3]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map); also when `shared` cannot be encoded.
    pub fn map_with<F, S, A, R, UseTryCall>(
        &self,
        shared: &S,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error>
    where
        F: Fn(&S, A) -> R + Copy + Send + 'static,
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_with`.
        UseTryCall: AsItIs<R>,
    {
        self.call_with(shared, f).map(items)
    }

    /// Runs `f(&mut state, item)` over all items, with a state that `init()` builds once on each worker.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let lengths = pool.map_init(String::new, |buffer, n: usize| {
    ///     buffer.clear();
    ///     (0..n).for_each(|_| buffer.push('x'));
    ///     buffer.len()
    /// }, [3, 1])?;
    /// assert_eq!(lengths, [3, 1]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map); a panic in `init` is a failure of the kind
    /// [`Init`](crate::FailureKind::Init).
    pub fn map_init<I, F, S, A, R, UseTryCall>(
        &self,
        init: I,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Error>
    where
        I: Fn() -> S + Copy + Send + 'static,
        F: Fn(&mut S, A) -> R + Copy + Send + 'static,
        S: Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call_init`.
        UseTryCall: AsItIs<R>,
    {
        self.call_init(init, f).map(items)
    }

    /// Runs `f` over all items and folds the results with `combine`; `None` without items. The same
    /// bits at any mode, worker count and chunk size: see [`Call::reduce`].
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let sum = pool.map_reduce(|n: u32| 1.0 / f64::from(n), |a, b| a + b, 1..=1000)?;
    /// assert!((sum.unwrap() - 7.485470860550345).abs() < 1e-12);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Executor::map).
    pub fn map_reduce<F, C, A, R, UseTryCall>(
        &self,
        f: F,
        combine: C,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Option<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        C: Fn(R, R) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_call`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).reduce(combine, items)
    }

    /// Runs `f(item)` in its own time.
    ///
    /// ```
    /// let pool = rankpool::Executor::start()?;
    /// let future = pool.submit(|n: u32| n + 1, 1)?;
    /// assert_eq!(future.wait()?, 2);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the executor has ended.
    pub fn submit<F, A, R, UseTryCall>(&self, f: F, item: A) -> Result<Future<R>, Error>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Returned<UseTryCall> + 'static, // A `Result` belongs to `try_submit`.
        UseTryCall: AsItIs<R>,
    {
        self.call(f).submit(item)
    }

    /// As [`submit`](Executor::submit), for a function that returns a `Result`.
    ///
    /// # Errors
    /// When the executor has ended.
    pub fn try_submit<F, A, R, E>(&self, f: F, item: A) -> Result<Future<R>, Error>
    where
        F: Fn(A) -> Result<R, E> + Copy + Send + 'static,
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        E: std::fmt::Display + 'static,
    {
        self.try_call(f).submit(item)
    }
}
