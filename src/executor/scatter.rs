//! Values that are sent once to each worker: those of a call, and those that outlive it.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Executor, Shared, command::Command};
use crate::{
    error::{Error, Failure, FailureKind},
    wire::encode,
    worker::{Home, Original, Originals, Scattered, catch, noting},
};

impl Home for Shared {
    fn dropped(&self, number: u64) {
        // An executor that has ended has ended its workers.
        let _ = self.command(Command::Dropped { number });
    }
}

impl Executor {
    /// A value that is sent once to each worker and used by any number of calls, as all or a part of their shared values
    /// and of their items. It stays on the workers until the handle and its clones are dropped and the calls that use it
    /// have ended; [`Scattered`] says more.
    ///
    /// ```
    /// use rankpool::{Block, Scattered};
    /// let pool = rankpool::Executor::builder().mode(rankpool::Mode::Serial).start()?;
    /// let weights = pool.scatter(&Block::from(vec![0.5, 2.0]))?;
    /// let counts = pool.scatter(&Block::from(vec![4.0, 1.0]))?;
    /// // As the shared value of a call:
    /// let scaled = pool.map_with(&weights, |weights, x: f64| weights[0] * x, [2.0, 4.0])?;
    /// assert_eq!(scaled, [1.0, 2.0]);
    /// // Several at once, in a call that comes later:
    /// let both = (weights.clone(), counts.clone());
    /// assert_eq!(pool.map_with(&both, |(weights, counts), k: usize| weights[k] * counts[k], [1, 0])?, [2.0, 2.0]);
    /// // Inside of items:
    /// let sum = |(values, scale): (Scattered<Block<f64>>, f64)| scale * values.iter().sum::<f64>();
    /// assert_eq!(pool.map(sum, [(weights, 1.0), (counts, 10.0)])?, [2.5, 50.0]);
    /// # Ok::<(), rankpool::Error>(())
    /// ```
    ///
    /// Nothing is sent before a chunk needs the value; a worker that replaces a lost one gets it when it has one, too. With
    /// leaders a large value lies once in the memory of a node. Rank 0 keeps the encoded bytes, not `value`. A chunk names
    /// the values that its call uses: some, or some hundreds, but not one for each of a million items.
    ///
    /// # Errors
    /// When `value` cannot be encoded.
    pub fn scatter<S>(&self, value: &S) -> Result<Scattered<S>, Error>
    where
        S: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        match self.original("the scattered value", value) {
            Ok(original) => Ok(Scattered::of(original)),
            Err(failure) => Err(Error::usage(failure.message)),
        }
    }

    /// A shared value as it is sent; errors call it `what`.
    pub(crate) fn original<S: Serialize>(&self, what: &str, value: &S) -> Result<Arc<Original>, Failure> {
        let mut within = Originals::new();
        let encoded = noting(&*self.shared, &mut within, || catch(|| encode(value)))?;
        let bytes = encoded.map_err(|error| Failure::new(FailureKind::Codec, format!("{what} {error}")))?;
        let number = self.shared.new_call().0;
        Ok(Original::new(number, Bytes::from(bytes), within, self.shared.clone()))
    }
}
