//! loom's atomics, but a store is a swap.
//!
//! loom lets a store come between the two halves of another thread's read-modify-write, so that it
//! would be lost; the memory model forbids that. A swap has its place in the order of all changes,
//! and loads still see old values. There is only what the files under test use.

pub use std::sync::atomic::Ordering;

use loom::sync::atomic;

macro_rules! store_is_a_swap {
    ($name:ident, $value:ty) => {
        #[derive(Debug, Default)]
        pub struct $name(atomic::$name);

        impl $name {
            pub fn new(value: $value) -> $name {
                $name(atomic::$name::new(value))
            }

            pub fn load(&self, order: Ordering) -> $value {
                self.0.load(order)
            }

            pub fn store(&self, value: $value, order: Ordering) {
                self.0.swap(value, order);
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.0.swap(value, order)
            }
        }
    };
}

macro_rules! counts {
    ($name:ident, $value:ty) => {
        store_is_a_swap!($name, $value);

        impl $name {
            pub fn fetch_add(&self, more: $value, order: Ordering) -> $value {
                self.0.fetch_add(more, order)
            }

            pub fn fetch_sub(&self, less: $value, order: Ordering) -> $value {
                self.0.fetch_sub(less, order)
            }

            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.0.fetch_update(set, fetch, change)
            }
        }
    };
}

store_is_a_swap!(AtomicBool, bool);
store_is_a_swap!(AtomicU8, u8);
counts!(AtomicU32, u32);
counts!(AtomicUsize, usize);
