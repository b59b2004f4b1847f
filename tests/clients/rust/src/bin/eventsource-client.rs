//! crates.io `eventsource-client` (LaunchDarkly): prints each event as a line of JSON.

use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use futures_util::StreamExt;
use launchdarkly_sdk_transport::HyperTransport;
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let transport = HyperTransport::builder().build_http().expect("a transport");
    // By itself it waits for up to a minute after failures in a row.
    let reconnect = ReconnectOptions::reconnect(true).delay(Duration::from_millis(100)).delay_max(Duration::from_secs(1)).build();
    let client = ClientBuilder::for_url(&url).expect("a URL").reconnect(reconnect).build_with_transport(transport);
    let mut stream = client.stream();
    while let Some(event) = stream.next().await {
        match event {
            Ok(SSE::Event(event)) => {
                println!("{}", serde_json::json!({"type": event.event_type, "data": event.data, "id": event.id}));
            }
            Ok(_) => {}
            // It tries again by itself.
            Err(err) => eprintln!("{err}"),
        }
    }
    eprintln!("the stream ended");
}
