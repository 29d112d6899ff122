//! Ranks that are threads of one process, for tests.

use std::sync::{Arc, Barrier, Mutex, PoisonError};

use super::Ranks;

/// What the threads have laid down for each other.
#[derive(Debug)]
struct Table {
    barrier: Barrier,
    values: Mutex<Vec<Vec<f32>>>,
    message: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Thread {
    rank: usize,
    count: usize,
    table: Arc<Table>,
}

impl Thread {
    /// Lays values down, and looks at those of all when they are there.
    fn exchange<T>(&self, values: Vec<f32>, look: impl FnOnce(&[Vec<f32>]) -> T) -> T {
        let lock = || self.table.values.lock().unwrap_or_else(PoisonError::into_inner);
        lock()[self.rank] = values;
        self.table.barrier.wait();
        let seen = look(&lock());
        self.table.barrier.wait();
        seen
    }
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn sum(&self, values: &mut [f32]) {
        let sum = self.exchange(values.to_vec(), |all| {
            let mut sum = all[0].clone();
            for other in &all[1..] {
                sum.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
            }
            sum
        });
        values.copy_from_slice(&sum);
    }

    fn gather(&self, values: Vec<f32>) -> Option<Vec<Vec<f32>>> {
        self.exchange(values, |all| (self.rank == 0).then(|| all.to_vec()))
    }

    fn broadcast(&self, message: Option<Vec<u8>>) -> Vec<u8> {
        let lock = || self.table.message.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = message {
            *lock() = message;
        }
        self.table.barrier.wait();
        let heard = lock().clone();
        self.table.barrier.wait();
        heard
    }
}

/// Does the same on so many threads, each of which is a rank, and gives what each came to.
pub(crate) fn on_threads<T: Send>(
    count: usize,
    work: impl Fn(Arc<dyn Ranks>) -> T + Send + Sync,
) -> Vec<T> {
    let table = Arc::new(Table {
        barrier: Barrier::new(count),
        values: Mutex::new(vec![Vec::new(); count]),
        message: Mutex::default(),
    });
    std::thread::scope(|scope| {
        let start = |rank| {
            let ranks = Arc::new(Thread { rank, count, table: table.clone() });
            let work = &work;
            scope.spawn(move || work(ranks))
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a rank that ends well")).collect()
    })
}
