//! The nearest rows of one query out of approximate scores that come in block by block.
//!
//! Knows scores and their error bound, not where they come from. Invariant: what it ends with are the nearest rows by
//! exact distance, of equals the one with the lower number, however the scores were rounded within the bound.

use std::cmp::Ordering;

/// Scores looked at in one step.
const STEP: usize = 32;

/// A row and how far it is from the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Neighbour {
    pub row: usize,
    pub distance: f64,
}

impl Neighbour {
    /// Nearer first, of equals the lower number.
    fn order(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.row.cmp(&other.row))
    }
}

/// What the candidates of a query ask about it.
pub(super) trait Query {
    /// The exact distance of a row.
    fn distance(&self, row: usize) -> f64;

    /// A score that all rows at this distance or nearer have at least, however it was rounded.
    fn lowest_score(&self, distance: f64) -> f32;

    /// How far apart two scores can be that belong to the same distance.
    fn spread(&self) -> f32;
}

/// Rows that may be among the nearest `count`.
pub(super) struct Candidates {
    count: usize,
    capacity: usize,
    /// The nearest of those whose distance is known.
    best: Vec<Neighbour>,
    /// Scores and rows whose distance is not known yet.
    open: Vec<(f32, usize)>,
    /// A row with a lower score is none of the nearest. Rows whose score is no number pass.
    threshold: f32,
}

impl Candidates {
    pub fn new(count: usize) -> Self {
        let capacity = (4 * count).max(64);
        Self { count, capacity, best: Vec::new(), open: Vec::new(), threshold: f32::NEG_INFINITY }
    }

    /// Takes the scores of rows from `first` on, the larger the nearer.
    pub fn take(&mut self, scores: &[f32], first: usize, query: &impl Query) {
        for (step, scores) in scores.chunks(STEP).enumerate() {
            let threshold = self.threshold;
            if scores.iter().fold(true, |below, &score| below & (score < threshold)) {
                continue;
            }
            for (at, &score) in scores.iter().enumerate() {
                if score < self.threshold {
                    continue;
                }
                self.open.push((score, first + step * STEP + at));
                if self.open.len() >= self.capacity {
                    self.narrow(query);
                }
            }
        }
    }

    /// Drops rows that cannot be among the nearest; where too few drop out, looks the distances up.
    fn narrow(&mut self, query: &impl Query) {
        let spread = query.spread();
        if spread.is_finite() && self.open.len() > self.count {
            let last = self.count - 1;
            let (_, (score, _), _) = self.open.select_nth_unstable_by(last, |one, other| other.0.total_cmp(&one.0));
            self.threshold = self.threshold.max((*score - spread).next_down());
            let threshold = self.threshold;
            self.open.retain(|&(score, _)| score >= threshold);
        }
        if self.open.len() > self.capacity / 2 {
            self.settle(query);
        }
    }

    fn settle(&mut self, query: &impl Query) {
        let known = self.open.drain(..).map(|(_, row)| Neighbour { row, distance: query.distance(row) });
        self.best.extend(known);
        self.best.sort_unstable_by(Neighbour::order);
        self.best.truncate(self.count);
        if let Some(last) = self.best.get(self.count - 1) {
            self.threshold = self.threshold.max(query.lowest_score(last.distance));
        }
    }

    /// The nearest rows, nearest first.
    pub fn finish(mut self, query: &impl Query) -> Vec<Neighbour> {
        self.narrow(query);
        self.settle(query);
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows at given distances; scores are minus the distance, off by up to `error`.
    struct Line {
        distances: Vec<f64>,
        error: f32,
    }

    impl Line {
        fn scores(&self) -> Vec<f32> {
            let off = |row: usize| self.error * ((row * 7919 % 201) as f32 / 100.0 - 1.0) * 0.999;
            self.distances.iter().enumerate().map(|(row, &distance)| -(distance as f32) + off(row)).collect()
        }

        fn nearest(&self, count: usize) -> Vec<usize> {
            let mut rows: Vec<usize> = (0..self.distances.len()).collect();
            rows.sort_by(|&a, &b| self.distances[a].total_cmp(&self.distances[b]).then(a.cmp(&b)));
            rows.truncate(count);
            rows
        }
    }

    impl Query for Line {
        fn distance(&self, row: usize) -> f64 {
            self.distances[row]
        }
        fn lowest_score(&self, distance: f64) -> f32 {
            (-(distance as f32) - self.error - 1e-4).next_down()
        }
        fn spread(&self) -> f32 {
            2.0 * self.error + 1e-4
        }
    }

    fn check(line: &Line, count: usize, block: usize) {
        let mut candidates = Candidates::new(count);
        for (at, scores) in line.scores().chunks(block).enumerate() {
            candidates.take(scores, at * block, line);
        }
        let found: Vec<usize> = candidates.finish(line).iter().map(|neighbour| neighbour.row).collect();
        assert_eq!(
            found,
            line.nearest(count),
            "{count} of {}, blocks of {block}, error {}",
            line.distances.len(),
            line.error
        );
    }

    #[test]
    fn rounded_scores_find_the_exact_neighbours() {
        for error in [0.0, 0.01, 1.0, 1000.0] {
            for (rows, count) in [(1, 1), (40, 5), (3000, 1), (3000, 5), (3000, 70), (500, 500)] {
                let distances = (0..rows).map(|row| ((row * 7349 + 11) % 1009) as f64 / 100.0).collect();
                let line = Line { distances, error };
                [7, 1024].into_iter().for_each(|block| check(&line, count, block));
            }
        }
    }

    #[test]
    fn of_equal_distances_the_lower_number_wins() {
        check(&Line { distances: vec![1.0; 5000], error: 0.1 }, 5, 256);
        check(&Line { distances: (0..5000).map(|row| f64::from(5000 - row)).collect(), error: 0.1 }, 5, 256);
    }

    #[test]
    fn scores_that_are_no_numbers_are_looked_up() {
        let line = Line { distances: (0..300).map(|row| f64::from((row * 37) % 300)).collect(), error: f32::INFINITY };
        let mut candidates = Candidates::new(3);
        candidates.take(&[f32::NAN; 300], 0, &line);
        let found: Vec<usize> = candidates.finish(&line).iter().map(|neighbour| neighbour.row).collect();
        assert_eq!(found, line.nearest(3));
    }
}
