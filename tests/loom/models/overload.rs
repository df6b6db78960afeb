//! What is shed.

use std::sync::Arc;

use loom::thread;
use tidegate_loom::overload::{Overload, Shedding};

use crate::{in_every_order, join};

#[test]
fn what_is_over_is_over() {
    in_every_order(2, || {
        let overload = Arc::new(Overload::default());
        let workers = [(); 2].map(|()| {
            let overload = Arc::clone(&overload);
            thread::spawn(move || {
                let seen = [(); 3].map(|()| overload.shed());
                // Some of what was set, in that order.
                let set = [Shedding::Nothing, Shedding::Everything, Shedding::Nothing];
                let mut left = set.into_iter().peekable();
                for it in seen {
                    while left.next_if(|next| *next != it).is_some() {}
                    assert!(left.peek().is_some(), "{seen:?}");
                }
            })
        });
        overload.set(Shedding::Everything);
        overload.set(Shedding::Nothing);
        join(workers);
        assert_eq!(overload.shed(), Shedding::Nothing);
        assert!(!overload.sheds_connections());
    });
}
