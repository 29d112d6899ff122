use std::collections::VecDeque;

/// A score, what was decided on it, and its place among the held-out scores.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// Not NaN.
    pub(super) score: f64,
    pub(super) rejected: bool,
    /// Share of the held-out scores that is lower.
    pub(super) held_out_below: f64,
    /// Share of the held-out scores that is no higher.
    pub(super) held_out_up_to: f64,
}

/// The newest requests, in the order in which they came and in that of their scores.
#[derive(Debug, Clone)]
pub(super) struct Window {
    capacity: usize,
    /// Score and whether it was rejected, oldest first.
    arrivals: VecDeque<(f64, bool)>,
    ascending: Vec<Request>,
    rejected: usize,
}

impl Window {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, arrivals: VecDeque::new(), ascending: Vec::new(), rejected: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.arrivals.len()
    }

    pub(super) fn rejected(&self) -> usize {
        self.rejected
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }

    pub(super) fn push(&mut self, request: Request) {
        if self.arrivals.len() == self.capacity {
            self.drop_oldest();
        }
        self.arrivals.push_back((request.score, request.rejected));
        self.rejected += usize::from(request.rejected);
        let place = self.first_from(request.score);
        self.ascending.insert(place, request);
    }

    fn drop_oldest(&mut self) {
        if let Some((score, rejected)) = self.arrivals.pop_front() {
            self.rejected -= usize::from(rejected);
            // Of equal scores any will do: nothing but the score is asked of those in order.
            let place = self.first_from(score);
            self.ascending.remove(place);
        }
    }

    /// Where scores begin that are no lower.
    fn first_from(&self, score: f64) -> usize {
        self.ascending.partition_point(|request| request.score < score)
    }

    /// The largest difference between the distributions of these scores and of the held-out ones,
    /// in `[0, 1]`. 0 for an empty window.
    pub(super) fn ks_distance(&self) -> f64 {
        // Between two neighbours the share of the window stays and that of the held-out scores
        // grows, so that the largest difference is just below or at one of the scores.
        let (scores, mut below, mut largest) = (self.ascending.len() as f64, 0_usize, 0.0_f64);
        for equal in self.ascending.chunk_by(|a, b| a.score == b.score) {
            let up_to = below + equal.len();
            let just_below = below as f64 / scores - equal[0].held_out_below;
            let at = up_to as f64 / scores - equal[0].held_out_up_to;
            largest = largest.max(just_below.abs()).max(at.abs());
            below = up_to;
        }
        largest
    }
}
