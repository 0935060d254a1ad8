//! TLS on both sides: the protocols by ALPN, client certificates where asked for, and no word
//! to a SageMaker that cannot show who it is.

use rcgen::ExtendedKeyUsagePurpose;
use rustls::version::TLS12;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::http2;
use crate::support::request::INVOKE;
use crate::support::tls::{Authority, Identity, connect, connect_with, terminate};
use crate::support::{Ask, Caller, OK, SageMaker, Setup, Stand};

fn setup() -> Setup {
    let tls = json!({"certificate": "tls.crt", "private_key": "tls.key"});
    Setup::default().with("server", "tls", tls)
}

async fn stand(authority: &Authority, client_ca: Option<&Authority>) -> Stand {
    stand_with(authority, client_ca, false).await
}

async fn stand_with(authority: &Authority, client_ca: Option<&Authority>, modern: bool) -> Stand {
    let directory = TempDir::new().unwrap();
    authority.issue("gateway.test").write(directory.path(), "tls");
    let mut tls = json!({"certificate": "tls.crt", "private_key": "tls.key", "modern": modern});
    if let Some(clients) = client_ca {
        std::fs::write(directory.path().join("clients.pem"), clients.pem()).unwrap();
        tls["client_ca"] = json!("clients.pem");
    }
    let setup = Setup::default().with("server", "tls", tls);
    let mut stand = Stand::within(directory, setup).await;
    stand.sagemaker.answer_all(OK);
    stand
}

#[tokio::test]
async fn alpn_chooses_between_http2_and_http11() {
    let authority = Authority::new();
    let stand = stand(&authority, None).await;
    let (address, token) = (stand.app.address(), stand.token());
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = connect(address, &authority, offered, None).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol();
        assert_eq!(alpn, chosen.map(str::as_bytes), "{offered:?}");
        let version = if chosen == Some("h2") { "2" } else { "1.1" };
        let answer = if version == "2" {
            http2::whole(&mut http2::connection(stream).await, http2::call(INVOKE, &token)).await
        } else {
            let mut caller = Caller::over(stream);
            caller.write(Ask::invoke(&token).bytes()).await;
            caller.response(200).await
        };
        assert_eq!(answer.status, 200);
        assert_eq!(stand.event(&answer)["http_request"]["version"], version);
    }
    assert_eq!(stand.sagemaker.seen().len(), 4);
    stand.stop().await;
}

#[tokio::test]
async fn plaintext_on_a_tls_listener_is_no_request() {
    let authority = Authority::new();
    let stand = stand(&authority, None).await;
    let token = stand.token();
    let mut plain = stand.caller().await;
    plain.write(Ask::invoke(&token).bytes()).await;
    let answer = plain.drain().await;
    assert!(!answer.starts_with(b"HTTP/"), "a TLS alert at most");
    assert!(stand.sagemaker.seen().is_empty());
    stand.stop().await;
}

/// TLS 1.3 tells a client of its refusal only when it reads.
async fn served(stand: &Stand, authority: &Authority, identity: Option<&Identity>) -> bool {
    let connected = connect(stand.app.address(), authority, &["http/1.1"], identity).await;
    let Ok(mut stream) = connected else { return false };
    let ask = Ask::invoke(&stand.token()).bytes();
    let mut answer = Vec::new();
    if tokio::io::AsyncWriteExt::write_all(&mut stream, &ask).await.is_err() {
        return false;
    }
    let read = stream.read_buf(&mut answer).await;
    read.is_ok_and(|_| answer.starts_with(b"HTTP/1.1 200 "))
}

#[tokio::test]
async fn a_client_certificate_is_demanded_where_client_ca_says_so() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let stand = stand(&authority, Some(&clients)).await;
    let expired = clients.issue_with("app", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = clients.issue_with("app", |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    });
    let usage =
        |usage| clients.issue_with("app", |params| params.extended_key_usages = vec![usage]);
    for (what, identity) in [
        ("without one", None),
        ("with a stranger's", Some(strangers.issue("app"))),
        ("with an expired one", Some(expired)),
        ("with one that is not valid yet", Some(early)),
        ("with a server's", Some(usage(ExtendedKeyUsagePurpose::ServerAuth))),
    ] {
        assert!(!served(&stand, &authority, identity.as_ref()).await, "{what}");
    }
    assert!(stand.sagemaker.seen().is_empty(), "nothing went on");
    let right = [clients.issue("app"), usage(ExtendedKeyUsagePurpose::ClientAuth)];
    for identity in &right {
        assert!(served(&stand, &authority, Some(identity)).await, "with the right one");
    }
    assert_eq!(stand.sagemaker.seen().len(), 2);
    stand.stop().await;
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_preferred_and_every_suite_is_of_mozillas_set() {
    let authority = Authority::new();
    let stand = stand(&authority, None).await;
    let address = stand.app.address();
    let stream = connect(address, &authority, &[], None).await.unwrap();
    let session = stream.get_ref().1;
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    let older = connect_with(address, &authority, &[], None, &[&TLS12]).await.unwrap();
    let group = older.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519, "for whoever does not know it");

    let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    let mut names: Vec<_> = suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    names.sort();
    assert_eq!(names, SUITES, "of the versions that are here");
    stand.stop().await;
}

/// Mozilla's intermediate set without its DHE suites, guidelines version 5.7.
const SUITES: [&str; 9] = [
    "TLS13_AES_128_GCM_SHA256",
    "TLS13_AES_256_GCM_SHA384",
    "TLS13_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

#[tokio::test]
async fn modern_takes_tls_13_alone() {
    let authority = Authority::new();
    for (modern, twelve) in [(false, true), (true, false)] {
        let stand = stand_with(&authority, None, modern).await;
        let address = stand.app.address();
        let older = connect_with(address, &authority, &[], None, &[&TLS12]).await;
        assert_eq!(older.is_ok(), twelve, "modern: {modern}");
        drop(older);
        assert!(served(&stand, &authority, None).await);
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_under_load_and_a_broken_one_is_never_shown() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut stand = stand(&old, None).await;
    let ask = Ask::invoke(&stand.token());
    let stream = connect(stand.app.address(), &old, &["http/1.1"], None).await.unwrap();
    let mut open = Caller::over(stream);
    // (what is written, whether it is taken)
    let other = new.issue("gateway.test");
    let steps = [
        ("garbage".to_owned(), false),
        // A certificate that does not belong to the key.
        (other.certificate.clone(), false),
        (old.issue("gateway.test").certificate, false),
    ];
    for (certificate, taken) in steps {
        std::fs::write(stand.directory().join("tls.crt"), certificate).unwrap();
        assert_eq!(stand.try_reload(setup()).await.is_ok(), taken);
        open.write(ask.bytes()).await;
        open.response(200).await;
        assert!(served(&stand, &old, None).await, "the old one is shown");
        assert!(!served(&stand, &new, None).await);
    }
    other.write(stand.directory(), "tls");
    stand.try_reload(setup()).await.unwrap();
    open.write(ask.bytes()).await;
    open.response(200).await;
    assert!(served(&stand, &new, None).await, "the new one is shown");
    assert!(!served(&stand, &old, None).await);
    drop(open);
    stand.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut stand = stand(&old, None).await;
    assert!(served(&stand, &old, None).await);
    assert!(!served(&stand, &new, None).await);

    new.issue("gateway.test").write(stand.directory(), "tls");
    let tls = json!({"certificate": "tls.crt", "private_key": "tls.key"});
    let address = stand.sagemaker.address;
    stand.reload(Setup::default().with("server", "tls", tls), address).await;
    assert!(served(&stand, &new, None).await);
    assert!(!served(&stand, &old, None).await);
    stand.stop().await;
}

#[tokio::test]
async fn a_sagemaker_that_cannot_show_who_it_is_hears_nothing() {
    let (right, wrong) = (Authority::new(), Authority::new());
    // (who signed it, for which name, where calls go, the status)
    let cases = [
        (&wrong, "127.0.0.1", "127.0.0.1", 502),
        (&right, "10.0.0.1", "127.0.0.1", 502),
        (&right, "127.0.0.1", "127.0.0.1", 200),
        // A name is resolved, and its certificate held to the name all the same.
        (&right, "localhost", "localhost", 200),
        (&right, "127.0.0.1", "localhost", 502),
    ];
    for (authority, name, host, status) in cases {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), right.pem()).unwrap();
        let mut sagemaker = SageMaker::start().await;
        sagemaker.answer_all(OK);
        let address = terminate(&authority.issue(name), sagemaker.address).await;
        let url = json!(format!("https://{host}:{}", address.port()));
        let setup = Setup::default().with("aws", "runtime_url", url);
        let stand = Stand::within(directory, setup.with("aws", "ca", json!("ca.pem"))).await;
        stand.ask(&Ask::invoke(&stand.token()), status).await;
        assert_eq!(sagemaker.seen().len(), usize::from(status == 200), "{name}");
        stand.stop().await;
    }
}

#[tokio::test]
async fn a_sagemaker_that_does_not_finish_the_handshake_is_given_up_within_connect() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = json!(format!("https://{}", silent.local_addr().unwrap()));
    let setup = Setup::default().with("aws", "runtime_url", url);
    let setup = setup.with("aws", "timeouts", json!({"connect": "100ms", "response_head": "8s"}));
    let stand = Stand::with(setup).await;
    let refused = stand.ask(&Ask::invoke(&stand.token()), 502).await;
    let event = stand.event(&refused);
    assert!(event["status_detail"].as_str().unwrap().contains("within 100 ms"), "{event}");
    stand.stop().await;
}
