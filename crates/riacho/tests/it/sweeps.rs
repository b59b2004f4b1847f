//! What reactors owe to many readers of one stream that come, go and are served at the same time.

use crate::support::TestServer;

// A reader that came while a sweep stood in mid-list made it end one visit early: somebody else missed an event until
// the next one. No heartbeat helps here within the test's patience.
#[tokio::test]
async fn readers_that_come_in_mid_sweep_cost_no_other_reader_an_event() {
    let file = "heartbeat = \"300s\"\n[[stream]]\nmatch = \"s\"\ndurability = \"memory\"\n";
    let server = TestServer::with(file).await;
    let mut readers = Vec::new();
    for _ in 0..300 {
        readers.push(server.subscribe("s").await);
    }
    for round in 0..30 {
        let publishing = async {
            for n in 0..4 {
                server.publish("s", &format!("{round} {n}")).await;
            }
        };
        let coming = async {
            let mut come = Vec::new();
            for _ in 0..6 {
                come.push(server.sse("/streams/s", "").await);
            }
            come
        };
        let ((), come) = tokio::join!(publishing, coming);
        for reader in &mut readers {
            let got = reader.data(4).await;
            assert_eq!(got, [0, 1, 2, 3].map(|n| format!("{round} {n}")));
        }
        // Gone again: those who stay are what is counted on.
        drop(come);
    }
}
