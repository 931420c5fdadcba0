use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::ConfigMap;

use super::*;
use crate::runtime::testing::{Call as Sent, Reply, brief, briefs, config_map, fake_api};

type Sents = Arc<Mutex<Vec<Sent>>>;

fn writer(handler: impl FnMut(&Sent) -> Reply + Send + 'static) -> (Sents, Writer, Cache<ConfigMap>) {
    let (calls, client) = fake_api(handler);
    (
        calls,
        Writer::new(client, "author"),
        Cache::of([config_map("a", "1", 5)]),
    )
}

fn only(calls: &Sents) -> Sent {
    let calls = calls.lock().unwrap();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0].clone()
}

fn target() -> Target {
    Target::of(&config_map("a", "1", 5)).unwrap()
}

const ANSWERED: &str = "a/1@6";

fn answer(_: &Sent) -> Reply {
    Reply::ok(&config_map("a", "1", 6))
}

/// Asserts that the answer is what the next read of the cache sees.
fn assert_recorded(cache: &Cache<ConfigMap>, answer: &ConfigMap) {
    assert_eq!(
        (brief(answer), briefs(&cache.all())),
        (ANSWERED.to_owned(), vec![ANSWERED.to_owned()])
    );
}

#[tokio::test]
async fn create_posts_with_author_and_strict_validation_and_records_the_answer() {
    let (calls, writer, _) = writer(answer);
    let cache = Cache::of([]);
    let mut object = config_map("a", "1", 5);
    (object.metadata.uid, object.metadata.resource_version) = (None, None);
    let Created::Created(created) = writer.create(&cache, &object).await.unwrap() else {
        panic!("exists")
    };
    assert_recorded(&cache, &created);
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps?&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("POST", uri));
    assert_eq!(call.body, serde_json::to_value(&object).unwrap());
}

#[tokio::test]
async fn a_manifest_is_sent_with_all_that_it_holds() {
    let (calls, writer, _) = writer(answer);
    let cache = Cache::of([]);
    let manifest = Manifest::of(config_map("a", "1", 5)).with_spec(json!({"colour": "red"}));
    writer.create_manifest(&cache, &manifest).await.unwrap();
    assert_eq!(briefs(&cache.all()), [ANSWERED]);
    assert_eq!(only(&calls).body["spec"]["colour"], "red");
}

#[tokio::test]
async fn a_judgement_stores_nothing_and_is_strict() {
    let (calls, writer, cache) = writer(answer);
    let manifest = Manifest::of(config_map("a", "1", 5)).anonymous("check".to_owned());
    writer.judge(&manifest).await.unwrap();
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps?&dryRun=All&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("POST", uri));
    assert_eq!(call.body["metadata"]["name"], "check");
    assert_eq!(briefs(&cache.all()), ["a/1@5"]);
}

#[tokio::test]
async fn a_judgement_is_the_api_server_s_but_for_the_name() {
    for (code, reason, expected) in [
        (409, "AlreadyExists", None),
        (422, "Invalid", Some(WriteFailure::Invalid)),
        (503, "", Some(WriteFailure::Transient)),
    ] {
        let (_, writer, _) = writer(move |_| Reply::status(code, reason, "its words"));
        let answer = writer.judge(&Manifest::of(config_map("a", "1", 5))).await;
        assert_eq!(answer.err().map(|error| error.reason), expected, "{code}");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_an_error_of_create() {
    let (_, writer, cache) = writer(|_| Reply::status(409, "AlreadyExists", "already exists"));
    assert_eq!(
        writer.create(&cache, &config_map("b", "2", 1)).await.unwrap(),
        Created::AlreadyExists
    );
    assert!(cache.get("ns", "b").is_none());
}

#[tokio::test]
async fn get_reads_past_the_cache_and_leaves_it_alone() {
    let (calls, writer, cache) = writer(answer);
    let found: Option<ConfigMap> = writer.get("ns", "a").await.unwrap();
    assert_eq!(
        (brief(&found.unwrap()), briefs(&cache.all())),
        (ANSWERED.to_owned(), vec!["a/1@5".to_owned()])
    );
    assert_eq!(only(&calls).uri, "/api/v1/namespaces/ns/configmaps/a");
}

#[tokio::test]
async fn get_of_what_is_not_there_finds_nothing() {
    let (_, writer, _) = writer(|_| Reply::status(404, "NotFound", "not found"));
    assert_eq!(writer.get::<ConfigMap>("ns", "b").await.unwrap(), None);
}

#[tokio::test]
async fn replace_puts_the_whole_object_with_its_version() {
    let (calls, writer, cache) = writer(answer);
    let replaced = writer.replace(&cache, &config_map("a", "1", 5)).await.unwrap();
    assert_recorded(&cache, &replaced);
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps/a?&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("PUT", uri));
    assert_eq!(call.body["metadata"]["resourceVersion"], "5");
}

#[tokio::test]
async fn replace_without_version_or_uid_is_not_sent() {
    let (calls, writer, cache) = writer(answer);
    let (mut no_version, mut no_uid) = (config_map("a", "1", 5), config_map("a", "1", 5));
    no_version.metadata.resource_version = None;
    no_uid.metadata.uid = None;
    for object in [no_version, no_uid] {
        assert_eq!(
            writer.replace(&cache, &object).await.unwrap_err().reason,
            WriteFailure::Refused
        );
    }
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_patch_of_the_spec_carries_uid_and_version() {
    let (calls, writer, cache) = writer(answer);
    let patched = writer
        .patch_spec(&cache, &target(), &json!({"size": 2}))
        .await
        .unwrap();
    assert_recorded(&cache, &patched);
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps/a?&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("PATCH", uri));
    let metadata = json!({"uid": "1", "resourceVersion": "5"});
    assert_eq!(call.body, json!({"metadata": metadata, "spec": {"size": 2}}));
}

#[tokio::test]
async fn a_patch_of_the_spec_without_a_version_is_not_sent() {
    let (calls, writer, cache) = writer(answer);
    let mut target = target();
    target.resource_version = None;
    let error = writer.patch_spec(&cache, &target, &json!({})).await.unwrap_err();
    assert_eq!(error.reason, WriteFailure::Refused);
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_metadata_patch_carries_the_uid() {
    let (calls, writer, cache) = writer(answer);
    let patch = json!({ "metadata": { "labels": { "a": "b", "c": null } } });
    let patched = writer.patch_metadata(&cache, &target(), patch).await.unwrap();
    assert_recorded(&cache, &patched);
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps/a?&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("PATCH", uri));
    assert_eq!(call.content_type, "application/merge-patch+json");
    assert_eq!(
        call.body,
        json!({ "metadata": { "labels": { "a": "b", "c": null }, "uid": "1" } })
    );
}

#[test]
fn patches_of_lists_carry_the_version_and_other_patches_are_refused() {
    let bound = |patch| bind_metadata(patch, &target());
    let finalizers = json!({ "finalizers": ["x"], "resourceVersion": "5", "uid": "1" });
    assert_eq!(
        bound(json!({ "metadata": { "finalizers": ["x"] } })),
        Ok(json!({ "metadata": finalizers }))
    );
    let owners = json!({ "ownerReferences": null, "resourceVersion": "5", "uid": "1" });
    assert_eq!(
        bound(json!({ "metadata": { "ownerReferences": null } })),
        Ok(json!({ "metadata": owners }))
    );
    // Whoever sets another UID does not get it.
    assert_eq!(
        bound(json!({ "metadata": { "uid": "2" } })),
        Ok(json!({ "metadata": { "uid": "1" } }))
    );
    for bad in [
        json!([]),
        json!({}),
        json!({ "metadata": null }),
        json!({ "labels": {} }),
        json!({ "metadata": {}, "spec": {} }),
    ] {
        assert!(bound(bad.clone()).is_err(), "{bad}");
    }
    let unversioned = Target {
        resource_version: None,
        ..target()
    };
    assert!(bind_metadata(json!({ "metadata": { "finalizers": [] } }), &unversioned).is_err());
    assert!(bind_metadata(json!({ "metadata": { "labels": {} } }), &unversioned).is_ok());
}

#[tokio::test]
async fn a_status_patch_tests_the_uid_and_replaces_the_whole_status() {
    let (calls, writer, cache) = writer(answer);
    let patched = writer
        .patch_status(&cache, &target(), json!({ "replicas": 3 }))
        .await
        .unwrap();
    assert_recorded(&cache, &patched);
    let call = only(&calls);
    let uri = "/api/v1/namespaces/ns/configmaps/a/status?&fieldManager=author&fieldValidation=Strict";
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("PATCH", uri));
    assert_eq!(call.content_type, "application/json-patch+json");
    let test = json!({ "op": "test", "path": "/metadata/uid", "value": "1" });
    assert_eq!(
        call.body,
        json!([test, { "op": "add", "path": "/status", "value": { "replicas": 3 } }])
    );
}

#[tokio::test]
async fn a_delete_names_the_uid_and_what_else_decided() {
    let leaving = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": {
        "name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "6",
        "deletionTimestamp": "2026-11-23T10:00:00Z", "deletionGracePeriodSeconds": 30 } });
    let (calls, writer, cache) = writer(move |_| Reply::Json(200, leaving.clone()));
    let rule = DeleteRule {
        resource_version: true,
        grace_period_seconds: Some(30),
        propagation: Some(PropagationPolicy::Background),
    };
    let Deleted::Leaving(object) = writer.delete(&cache, &target(), rule).await.unwrap() else {
        panic!("gone")
    };
    assert_recorded(&cache, &object);
    let call = only(&calls);
    assert_eq!(
        (call.method.as_str(), call.uri.as_str()),
        ("DELETE", "/api/v1/namespaces/ns/configmaps/a?")
    );
    let body = json!({ "gracePeriodSeconds": 30, "propagationPolicy": "Background",
        "preconditions": { "uid": "1", "resourceVersion": "5" } });
    assert_eq!(call.body, body);
}

#[tokio::test]
async fn what_is_deleted_at_once_is_gone_from_the_cache_whatever_the_answer_looks_like() {
    let object = |meta: Value| json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": meta });
    let time = "2026-11-23T10:00:00Z";
    for (code, answer) in [
        (
            200,
            json!({ "kind": "Status", "status": "Success", "details": { "name": "a", "uid": "1" } }),
        ),
        (
            404,
            json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "m" }),
        ),
        (200, object(json!({ "name": "a", "namespace": "ns", "uid": "1" }))),
        (
            200,
            object(json!({ "name": "a", "deletionTimestamp": time, "deletionGracePeriodSeconds": 0 })),
        ),
    ] {
        let given = answer.clone();
        let (calls, writer, cache) = writer(move |_| Reply::Json(code, given.clone()));
        let deleted = writer
            .delete(&cache, &target(), DeleteRule::default())
            .await
            .unwrap();
        assert_eq!((deleted, cache.len()), (Deleted::Gone, 0), "{answer}");
        assert_eq!(only(&calls).body, json!({ "preconditions": { "uid": "1" } }));
    }
}

#[tokio::test]
async fn an_object_with_finalizers_is_not_gone() {
    let meta = json!({ "name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "6", "finalizers": ["x"],
        "deletionTimestamp": "2026-11-23T10:00:00Z", "deletionGracePeriodSeconds": 0 });
    let answer = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": meta });
    let (_, writer, cache) = writer(move |_| Reply::Json(200, answer.clone()));
    let deleted = writer
        .delete(&cache, &target(), DeleteRule::default())
        .await
        .unwrap();
    assert!(matches!(deleted, Deleted::Leaving(_)));
    assert_eq!(cache.len(), 1);
}

#[tokio::test]
async fn an_object_whose_last_finalizer_went_is_gone_from_the_cache() {
    let meta = json!({ "name": "a", "namespace": "ns", "uid": "1", "resourceVersion": "6",
        "deletionTimestamp": "2026-11-23T10:00:00Z", "deletionGracePeriodSeconds": 0 });
    let (_, writer, cache) = writer(move |_| Reply::Json(200, json!({ "metadata": meta })));
    writer
        .patch_metadata(&cache, &target(), json!({ "metadata": { "finalizers": null } }))
        .await
        .unwrap();
    assert!(cache.is_empty());
}

#[tokio::test]
async fn a_conflict_of_a_delete_is_told_and_the_cache_is_left_alone() {
    let (_, writer, cache) = writer(|_| Reply::status(409, "Conflict", "the UID in the precondition"));
    let error = writer
        .delete(&cache, &target(), DeleteRule::default())
        .await
        .unwrap_err();
    assert_eq!(error.reason, WriteFailure::Conflict);
    assert_eq!(
        error.to_string(),
        "cannot delete ConfigMap ns/a: the UID in the precondition"
    );
    assert_eq!(cache.len(), 1);
}

#[tokio::test]
async fn a_delete_that_needs_an_unknown_version_is_not_sent() {
    let (calls, writer, cache) = writer(answer);
    let target = Target {
        resource_version: None,
        ..target()
    };
    let rule = DeleteRule {
        resource_version: true,
        ..DeleteRule::default()
    };
    assert_eq!(
        writer.delete(&cache, &target, rule).await.unwrap_err().reason,
        WriteFailure::Refused
    );
    assert!(calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_name_is_never_sent() {
    let (calls, writer, cache) = writer(answer);
    let target = Target {
        name: String::new(),
        ..target()
    };
    let error = writer
        .delete(&cache, &target, DeleteRule::default())
        .await
        .unwrap_err();
    assert_eq!(error.reason, WriteFailure::Refused);
    assert!(calls.lock().unwrap().is_empty());
}
