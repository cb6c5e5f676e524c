//! The service behind the proxies: it tells what reached it, and keeps to the restrictions of the key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};

/// A service that trusts the headers of its proxy; it lives as long as the tests.
pub struct Upstream {
    pub address: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Data::from(Arc::clone(&calls));
        std::thread::spawn(move || {
            let app = move || {
                App::new()
                    .app_data(Data::clone(&counted))
                    .app_data(PayloadConfig::new(64 << 20))
                    .default_service(web::to(answer))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().listen(listener);
            actix_web::rt::System::new().block_on(server.unwrap().run()).unwrap();
        });
        Self { address, calls }
    }

    /// How many calls have come through so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// What this service knows of a customer, and the messages it has for each channel.
async fn answer(req: HttpRequest, body: Bytes, calls: Data<AtomicUsize>) -> HttpResponse {
    calls.fetch_add(1, Ordering::SeqCst);
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in req.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.as_str().to_owned()).or_default().push(value);
    }
    let restrictions = headers.get("x-key-restrictions").map(|values| values.concat());
    let restrictions = restrictions.as_deref().unwrap_or_default();
    HttpResponse::Ok().json(json!({
        "method": req.method().as_str(),
        "target": req.uri().path_and_query().map_or("", |it| it.as_str()),
        "bodyLength": body.len(),
        "headers": headers,
        "customer": only(restrictions, "attributes", &CUSTOMER),
        "messages": only(restrictions, "channels", &MESSAGES),
    }))
}

const CUSTOMER: [(&str, &str); 3] =
    [("Age", "36"), ("Country", "NG"), ("Email", "ada@example.org")];
const MESSAGES: [(&str, &str); 3] =
    [("email", "Dear Ada"), ("sms", "Hi Ada"), ("whatsapp", "Ada, look")];

/// The pairs a list of the restrictions names; all of them if there is no such list.
fn only(restrictions: &str, list: &str, all: &[(&str, &str)]) -> Value {
    let lists = restrictions.split("; ").filter_map(|part| part.split_once('='));
    let named: Option<BTreeSet<&str>> = lists
        .filter(|(name, _)| *name == list)
        .map(|(_, values)| values.split(',').collect())
        .next();
    let kept = all.iter().filter(|(name, _)| named.as_ref().is_none_or(|n| n.contains(name)));
    kept.map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
