//! Stands before the engines: sends each batch to the one that is built for its shape, and lets no other pass.
//!
//! Knows no TensorRT: what runs a batch is behind the seam [`RunBatch`]. Invariant: a session sees only batches of its
//! own profile.

use super::error::Error;
use super::shape::{BatchShape, ShapeProfile};
use super::store::UsedEngine;
use crate::runtime::{self, Batch, EmbeddingMatrix, RunBatch};

/// The shapes that engines are built for.
#[derive(Debug, Clone)]
pub struct ShapeGuard {
    profiles: Vec<ShapeProfile>,
}

impl ShapeGuard {
    /// A guard for these profiles.
    pub fn new(profiles: Vec<ShapeProfile>) -> Self {
        Self { profiles }
    }

    /// The place of the profile that a batch of this shape belongs to.
    ///
    /// # Errors
    /// It belongs to none.
    pub fn place_of(&self, shape: BatchShape) -> Result<usize, Error> {
        let place = self.profiles.iter().position(|profile| profile.contains(shape));
        place.ok_or_else(|| Error::Unplanned { shape, profiles: self.profiles.clone() })
    }
}

/// One session for each profile of a plan.
pub struct ProfiledSessions {
    guard: ShapeGuard,
    sessions: Vec<Box<dyn RunBatch>>,
    /// Engines that nobody may remove while the sessions live.
    _used: Option<UsedEngine>,
}

impl ProfiledSessions {
    /// Sessions in the order of the profiles that their engines are built for.
    ///
    /// # Errors
    /// Another number of sessions than of profiles, or none.
    pub fn new(profiles: Vec<ShapeProfile>, sessions: Vec<Box<dyn RunBatch>>) -> Result<Self, Error> {
        if sessions.len() != profiles.len() || sessions.is_empty() {
            return Err(Error::SessionCount { sessions: sessions.len(), profiles: profiles.len() });
        }
        Ok(Self { guard: ShapeGuard::new(profiles), sessions, _used: None })
    }

    /// Sessions on stored engines, in the order of their profiles; the engines stay in use while these live.
    ///
    /// # Errors
    /// As [`ProfiledSessions::new`].
    pub fn on(used: UsedEngine, sessions: Vec<Box<dyn RunBatch>>) -> Result<Self, Error> {
        let profiles = used.record().setting.plan.profiles.clone();
        Ok(Self { _used: Some(used), ..Self::new(profiles, sessions)? })
    }
}

impl RunBatch for ProfiledSessions {
    fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
        // A batch without rows runs nowhere; which session says how long its rows would be is all the same.
        let place = match batch.rows {
            0 => 0,
            rows => self.guard.place_of(BatchShape::new(rows, batch.columns))?,
        };
        self.sessions[place].run(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::runtime::StubSession;

    /// A session that writes down what reaches it.
    struct Watched {
        inner: StubSession,
        seen: Arc<Mutex<Vec<BatchShape>>>,
    }

    impl RunBatch for Watched {
        fn run(&mut self, batch: &Batch) -> Result<EmbeddingMatrix, runtime::Error> {
            self.seen.lock().unwrap().push(BatchShape::new(batch.rows, batch.columns));
            self.inner.run(batch)
        }
    }

    fn profile(first: usize, last: usize, rows: usize) -> ShapeProfile {
        let [min, max] = [BatchShape::new(1, first), BatchShape::new(rows, last)];
        ShapeProfile { min, opt: max, max }
    }

    fn batch(rows: usize, columns: usize) -> Batch {
        let tokens = rows * columns;
        Batch { ids: vec![7; tokens], mask: vec![1; tokens], rows, columns, adapters: Vec::new() }
    }

    #[test]
    fn each_batch_reaches_the_engine_of_its_shape_and_an_unplanned_one_none() {
        let profiles = vec![profile(1, 16, 64), profile(17, 128, 8)];
        let seen: [Arc<Mutex<Vec<BatchShape>>>; 2] = Default::default();
        let watched = |seen: &Arc<_>| -> Box<dyn RunBatch> {
            Box::new(Watched { inner: StubSession::new(4), seen: Arc::clone(seen) })
        };
        let mut sessions = ProfiledSessions::new(profiles.clone(), seen.iter().map(watched).collect()).unwrap();
        for (rows, columns) in [(64, 16), (8, 128), (1, 17), (1, 1)] {
            let got = sessions.run(&batch(rows, columns)).unwrap();
            assert_eq!(got, StubSession::new(4).run(&batch(rows, columns)).unwrap());
        }
        let met = || seen.each_ref().map(|seen| seen.lock().unwrap().clone());
        let expected = [
            vec![BatchShape::new(64, 16), BatchShape::new(1, 1)],
            vec![BatchShape::new(8, 128), BatchShape::new(1, 17)],
        ];
        assert_eq!(met(), expected);
        for (rows, columns) in [(65, 16), (9, 17), (1, 129)] {
            let error = sessions.run(&batch(rows, columns)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("a batch of {rows} × {columns} tokens lies in none")));
            assert_eq!(
                error.hint().unwrap(),
                Error::Unplanned { shape: BatchShape::new(1, 1), profiles: vec![] }.hint().unwrap()
            );
        }
        assert_eq!(met(), expected, "nothing unplanned reached a session");
        let error = sessions.run(&batch(9, 17)).unwrap_err().to_string();
        assert_eq!(
            error,
            "a batch of 9 × 17 tokens lies in none of the 2 engines (1 × 1 to 64 × 16, 1 × 17 to 8 × 128)"
        );
    }

    #[test]
    fn a_batch_without_rows_gives_a_matrix_without_rows() {
        let mut sessions = ProfiledSessions::new(vec![profile(1, 8, 8)], vec![Box::new(StubSession::new(3))]).unwrap();
        let got = sessions.run(&batch(0, 0)).unwrap();
        assert_eq!((got.rows, got.dim), (0, 3));
    }

    #[test]
    fn every_profile_needs_its_session() {
        let one: Vec<Box<dyn RunBatch>> = vec![Box::new(StubSession::new(3))];
        assert!(ProfiledSessions::new(vec![profile(1, 8, 8), profile(9, 16, 8)], one).is_err());
        assert!(ProfiledSessions::new(Vec::new(), Vec::new()).is_err());
    }
}
