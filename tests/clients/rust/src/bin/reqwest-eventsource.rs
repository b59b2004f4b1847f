//! crates.io `reqwest-eventsource`: prints each event as a line of JSON.

use futures_util::StreamExt;
use reqwest_eventsource::{Event, EventSource};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).expect("a URL");
    let mut source = EventSource::get(url);
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Message(event)) => {
                println!("{}", serde_json::json!({"type": event.event, "data": event.data, "id": event.id}));
            }
            Ok(Event::Open) => {}
            // It tries again by itself.
            Err(err) => eprintln!("{err}"),
        }
    }
}
