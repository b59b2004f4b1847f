//! Rows of a table, then what is done to them.

use super::{Shop, put, source};
use crate::support::dynamodb::{Database, Fake, Keys, Local, Moto, View, Write};
use riacho::source::{Database as Of, SourceSettings, TableSettings};
use serde_json::{Value, json};

async fn a_page_gets_the_items_and_what_is_done_to_them(endpoint: &str) {
    let db = Database::new(endpoint);
    db.create_table("orders", Keys::ID, Some(View::NewAndOldImages)).await;
    let tea =
        json!({"id": {"S": "a"}, "item": {"S": "tea"}, "price": {"N": "12.50"}, "tags": {"SS": ["y", "x"]}});
    db.put("orders", tea).await;
    db.put("orders", json!({"id": {"S": "b"}, "item": {"S": "milk"}})).await;
    let shop = Shop::open(endpoint, &["orders"]).await;
    let mut page = shop.read("orders").await;
    let a = json!({"id": "a", "item": "tea", "price": 12.5, "tags": ["x", "y"]});
    page.until(json!({"a": a, "b": {"id": "b", "item": "milk"}})).await;
    db.put("orders", json!({"id": {"S": "c"}, "n": {"N": "123456789012345678901234567890"}})).await;
    db.delete("orders", json!({"id": {"S": "b"}})).await;
    db.put("orders", json!({"id": {"S": "a"}, "item": {"S": "rye"}, "gone": {"NULL": true}})).await;
    let a = json!({"id": "a", "item": "rye", "gone": null});
    let c = json!({"id": "c", "n": "123456789012345678901234567890"});
    page.until(json!({"a": a, "c": c})).await;
    let writes = vec![
        Write::Put(json!({"id": {"S": "d"}, "n": {"N": "1"}})),
        Write::Delete(json!({"id": {"S": "c"}})),
    ];
    db.transact_write("orders", writes).await;
    page.until(json!({"a": a, "d": {"id": "d", "n": 1}})).await;
    db.batch_write(
        "orders",
        vec![json!({"id": {"S": "e"}, "n": {"N": "1E+2"}})],
        vec![json!({"id": {"S": "a"}})],
    )
    .await;
    page.until(json!({"d": {"id": "d", "n": 1}, "e": {"id": "e", "n": 100}})).await;
}

#[tokio::test]
async fn amazons_emulator() {
    let Some(local) = Local::start().await else { return };
    a_page_gets_the_items_and_what_is_done_to_them(&local.endpoint()).await;
}

#[tokio::test]
async fn another_emulator() {
    let moto = Moto::start().await;
    a_page_gets_the_items_and_what_is_done_to_them(&moto.endpoint()).await;
}

#[tokio::test]
async fn keys_of_two_attributes_columns_and_other_names() {
    let fake = Fake::start().await;
    let keys = Keys { hash: ("customer", "S"), range: Some(("order", "N")) };
    fake.create_table("orders", keys, Some(View::NewImage), 2);
    let item = |customer: &str, order: &str, total: &str| json!({"customer": {"S": customer}, "order": {"N": order}, "total": {"N": total}, "secret": {"S": "x"}});
    fake.put("orders", item("ann", "1", "5"));
    let mut settings: SourceSettings = source(&fake.endpoint(), &[]);
    settings.tables = vec![TableSettings {
        name: Some("mine".to_owned()),
        columns: Some(vec!["total".to_owned()]),
        ..TableSettings::all_of("orders")
    }];
    let shop = Shop::with(settings).await;
    let mut page = shop.read("mine").await;
    fake.put("orders", item("bob", "12", "7"));
    let ann = json!({"customer": "ann", "order": 1, "total": 5});
    let bob = json!({"customer": "bob", "order": 12, "total": 7});
    page.until(json!({r#"["ann",1]"#: ann, r#"["bob",12]"#: bob})).await;
    // What nobody reads is no change.
    let before = page.operations().len();
    fake.put(
        "orders",
        json!({"customer": {"S": "ann"}, "order": {"N": "1"}, "total": {"N": "5"}, "secret": {"S": "y"}}),
    );
    fake.put("orders", item("bob", "12", "8"));
    page.until(json!({r#"["ann",1]"#: ann, r#"["bob",12]"#: {"customer": "bob", "order": 12, "total": 8}}))
        .await;
    assert_eq!(page.operations().len(), before + 1);
}

#[tokio::test]
async fn a_stream_that_tells_keys_only_costs_reads() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::KeysOnly), 1);
    put(&fake, "a", 1);
    let shop = Shop::open(&fake.endpoint(), &["orders"]).await;
    let mut page = shop.read("orders").await;
    put(&fake, "a", 2);
    put(&fake, "b", 1);
    page.until(json!({"a": {"id": "a", "n": 2}, "b": {"id": "b", "n": 1}})).await;
    fake.delete("orders", &json!({"id": {"S": "a"}}));
    page.until(json!({"b": {"id": "b", "n": 1}})).await;
    assert!(fake.calls("BatchGetItem") > 0);
}

#[tokio::test]
async fn shards_split_and_roll_under_a_reader_and_restarts() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 2);
    let mut shop = Shop::open(&fake.endpoint(), &["orders"]).await;
    let mut page = shop.read("orders").await;
    let mut rows = serde_json::Map::new();
    for round in 0..6 {
        for n in 0..40 {
            let id = format!("o{}", n % 25);
            put(&fake, &id, round * 100 + n);
            rows.insert(id.clone(), json!({"id": id, "n": round * 100 + n}));
        }
        let shards = fake.open_shards("orders");
        match round {
            0 => drop(fake.split("orders", &shards[0])),
            1 => drop(fake.roll("orders", shards.last().unwrap())),
            2 => fake.expire_iterators(),
            3 => fake.refuse("GetRecords", "ProvisionedThroughputExceededException", 5),
            4 => fake.cut_connections(),
            _ => {}
        }
        page.until(Value::Object(rows.clone())).await;
        if round == 2 {
            shop.restart().await;
            page = page.reopen(shop.server(), "/tables/orders").await;
        }
    }
    assert!(fake.calls("Scan") < 8, "nothing was lost, so nothing was compared");
}

#[tokio::test]
async fn an_item_that_expires_is_told_from_one_that_is_deleted() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    put(&fake, "a", 1);
    put(&fake, "b", 1);
    let shop = Shop::open(&fake.endpoint(), &["orders"]).await;
    let mut page = shop.read("orders").await;
    page.until(json!({"a": {"id": "a", "n": 1}, "b": {"id": "b", "n": 1}})).await;
    fake.ttl_delete("orders", &json!({"id": {"S": "a"}}));
    fake.delete("orders", &json!({"id": {"S": "b"}}));
    page.until(json!({})).await;
    let txids = page.txids();
    let [.., expired, deleted] = txids[..] else { panic!("{txids:?}") };
    assert!(expired.starts_with("ttl-") && !deleted.starts_with("ttl-"), "{txids:?}");
}

#[tokio::test]
async fn a_scan_that_was_interrupted_goes_on() {
    let fake = Fake::start().await;
    fake.create_table("orders", Keys::ID, Some(View::NewAndOldImages), 1);
    fake.page_bytes(400);
    let mut rows = serde_json::Map::new();
    for n in 0..60 {
        put(&fake, &format!("o{n}"), n);
        rows.insert(format!("o{n}"), json!({"id": format!("o{n}"), "n": n}));
    }
    let mut settings = source(&fake.endpoint(), &["orders"]);
    if let Of::DynamoDb(dynamodb) = &mut settings.database {
        // A page a second, or so.
        dynamodb.rcu_max = Some(1);
    }
    let mut shop = Shop::with(settings).await;
    let hold = fake.hold("Scan");
    hold.arrived().await;
    let before = fake.calls("Scan");
    // What is done meanwhile counts, whatever the pages say.
    fake.delete("orders", &json!({"id": {"S": "o0"}}));
    put(&fake, "o1", 1000);
    rows.remove("o0");
    rows.insert("o1".to_owned(), json!({"id": "o1", "n": 1000}));
    shop.stop().await;
    hold.release();
    if let Of::DynamoDb(dynamodb) = &mut shop.settings.database {
        dynamodb.rcu_max = None;
    }
    shop.restart().await;
    shop.until_rows("orders", Value::Object(rows)).await;
    shop.live().await;
    let pages = fake.calls("Scan");
    println!("{before} pages before, {pages} in all");
}
