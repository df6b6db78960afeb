//! The table in force.

use std::sync::Arc;

use loom::thread;
use tidegate_loom::endpoint::Endpoint;
use tidegate_loom::live::Live;
use tidegate_loom::names::{Arm, EndpointUrl};
use tidegate_loom::table::RoutingTable;
use tidegate_loom::tls::client::Client;

use crate::{in_every_order, join};

#[test]
fn whoever_has_a_table_finds_its_settings_in_effect() {
    in_every_order(2, || {
        let endpoint = Arc::new(Endpoint::new(Arm::Primary, &EndpointUrl, &Arc::new(Client(0))));
        let table = |number| RoutingTable { number, endpoint: Arc::clone(&endpoint) };
        let live = Arc::new(Live::new(table(1)));
        let workers = [(); 2].map(|()| {
            let live = Arc::clone(&live);
            thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let table = live.load();
                    // It never goes back.
                    assert!(table.number >= last);
                    last = table.number;
                    // The next one's may be in effect already.
                    assert!(table.endpoint.room().limit() >= table.number as usize);
                    assert!(table.endpoint.tls().unwrap().0 >= table.number);
                }
            })
        });
        live.publish(table(2));
        assert_eq!(live.load().number, 2);
        join(workers);
        assert_eq!(live.load().number, 2);
    });
}
