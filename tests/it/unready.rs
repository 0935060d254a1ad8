//! A gateway that lacks what it needs: it says so to the probes, refuses calls with when to
//! come back, and sends nothing on.

use std::time::SystemTime;

use sagegate::cli::demo::issuer::Issuer;
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{Ask, OK, Setup, Stand, until};

async fn unready(setup: Setup) -> Stand {
    let mut stand = Stand::unready(TempDir::new().unwrap(), setup).await;
    stand.sagemaker.answer_all(OK);
    stand
}

#[tokio::test]
async fn without_credentials_no_call_goes_out() {
    let stand = unready(Setup { credentials: false, ..Setup::default() }).await;
    until("the keys", || stand.app.health().faults() == ["no valid AWS credentials"]).await;
    stand.admin("GET /readyz HTTP/1.1", 503).await;
    stand.admin("GET /livez HTTP/1.1", 200).await;
    let refused = stand.ask(&Ask::invoke(&stand.token()), 503).await;
    assert_eq!((refused.code(), refused.get("retry-after")), ("ServiceUnavailable", Some("5")));
    let event = stand.event(&refused);
    assert_eq!((&event["disposition"], &event["action"]), (&json!("Error"), &json!("Denied")));
    stand.ask(&Ask::invoke("garbage"), 401).await;
    assert!(stand.sagemaker.seen().is_empty());
    stand.stop().await;
}

#[tokio::test]
async fn without_an_issuers_keys_its_tokens_are_refused_and_others_are_not() {
    let (up, away) = (Issuer::start().await.unwrap(), Issuer::start().await.unwrap());
    let token = |issuer: &Issuer| {
        let claims = issuer.claims("alice", &["callers"], SystemTime::now());
        issuer.mint(&claims).unwrap().expose_secret().to_owned()
    };
    let (good, lost) = (token(&up), token(&away));
    let issuer = |url| json!({"issuer": url, "audiences": ["sagegate"]});
    let mut setup = Setup::default();
    setup.gateway["issuers"] = json!({"corp": issuer(up.url()), "away": issuer(away.url())});
    drop(away);
    let stand = unready(setup).await;
    until("the other keys", || {
        stand.app.health().faults().iter().all(|fault| !fault.contains("corp"))
            && !stand.app.health().faults().iter().any(|fault| fault.contains("AWS"))
    })
    .await;
    let page = stand.admin("GET /readyz HTTP/1.1", 503).await.text();
    assert!(page.contains("away") && !page.contains("corp"), "{page}");

    let refused = stand.ask(&Ask::invoke(&lost), 503).await;
    assert_eq!((refused.code(), refused.get("retry-after")), ("ServiceUnavailable", Some("5")));
    assert_eq!(stand.event(&refused)["disposition"], "Rejected");
    stand.ask(&Ask::invoke(&good), 200).await;
    assert_eq!(stand.sagemaker.seen().len(), 1, "only the control went on");
    stand.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stand, address) = (Stand::start().await, taken.local_addr().unwrap());
    let setup = Setup::default().with("server", "listen", json!(address.to_string()));
    let error = stand.try_another(setup).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    stand.stop().await;
}
