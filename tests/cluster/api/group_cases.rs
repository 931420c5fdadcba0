//! What the rules of a group, and those of both kinds' `spec`, accept and refuse.

use serde_json::{Value, json};

use super::rule::Case;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = names_and_addresses();
    cases.extend(rollouts());
    cases.extend(placement());
    cases.extend(services());
    cases.extend(labels(
        "service-label-keys",
        "service-label-values",
        "spec.service",
        |labels| json!({"labels": labels}),
    ));
    cases.extend(labels(
        "template-label-keys",
        "template-label-values",
        "spec.template.metadata",
        |labels| json!({"labels": labels}),
    ));
    cases
}

fn names_and_addresses() -> Vec<Case> {
    vec![
        Case::new("group-name-length", "metadata.name")
            .accepts([json!("a"), json!("a".repeat(40))])
            .refuses([json!("a".repeat(41))], "name must not exceed 40 characters"),
        Case::new("group-name-label", "metadata.name")
            .accepts([json!("a"), json!("a-1"), json!("a--b")])
            .refuses_texts(&["1-a", "a.b"], |name| {
                format!(
                    "name \"{name}\" must begin with a lower-case letter and hold only lower-case letters, \
                     digits and \"-\", since Services are named after it"
                )
            }),
        Case::new("instance-name-length", "metadata.name")
            .accepts([json!("a"), json!("a".repeat(47))])
            .refuses([json!("a".repeat(48))], "name must not exceed 47 characters"),
        Case::new("cluster-name", "cluster.name")
            .accepts([json!("a"), json!("a.b"), json!("1-a"), json!("a".repeat(63))])
            .refuses_texts(&["A", "a_b", "-a", "a-", ".a", "a.", "a..b"], |name| {
                format!(
                    "cluster name \"{name}\" is not a DNS name: lower-case letters, digits, \"-\" and \".\", \
                     beginning and ending with a letter or digit"
                )
            }),
        pd_addresses(),
    ]
}

fn pd_addresses() -> Case {
    let bad = [
        "pd.example",
        "http://pd:2379",
        "pd:0",
        "pd:65536",
        "::1:2379",
        "pd:2379/",
        "-pd:1",
    ];
    bad.into_iter().fold(
        Case::new("pd-address", "cluster.pdAddrs").accepts([
            json!(["pd.example:2379"]),
            json!(["10.0.0.1:1", "[::1]:65535", "pd:2379"]),
        ]),
        |case, address| {
            case.refuses(
                [json!([address])],
                &format!(
                    "pdAddrs: \"{address}\" must be host:port with a port from 1 to 65535 and no scheme, \
                     such as pd.example:2379"
                ),
            )
        },
    )
}

fn rollouts() -> Vec<Case> {
    let surge = |value: &str| {
        format!("maxSurge: {value} must be a number from 0 to 100000 or a percentage such as \"25%\"")
    };
    let unavailable = |value: &str| {
        format!(
            "maxUnavailable: {value} must be a number from 0 to 100000 or a percentage from \"0%\" to \"100%\""
        )
    };
    vec![
        Case::new("max-surge", "spec.maxSurge")
            .accepts([json!(0), json!(1), json!(100_000)])
            .accepts([json!("0%"), json!("25%"), json!("200%")])
            .refuses([json!(-1)], &surge("-1"))
            .refuses([json!(100_001)], &surge("100001"))
            .refuses([json!(3_000_000_000_u64)], &surge("3000000000"))
            .refuses_texts(&["25", "-5%", "1.5%", "1000%", "all", ""], surge),
        Case::new("max-unavailable", "spec.maxUnavailable")
            .accepts([json!(0), json!(1), json!(100_000)])
            .accepts([json!("0%"), json!("25%"), json!("100%")])
            .refuses([json!(-1)], &unavailable("-1"))
            .refuses([json!(100_001)], &unavailable("100001"))
            .refuses_texts(&["25", "-5%", "1.5%", "101%", "all", ""], unavailable),
        Case::new("progress-deadline", "spec")
            .accepts([
                timing(None, None),
                timing(Some(11), None),
                timing(Some(31), Some(30)),
            ])
            .accepts([timing(None, Some(86_400))])
            .refuses(
                [timing(Some(10), None)],
                "progressDeadlineSeconds (10) must be more than minReadySeconds (10)",
            )
            .refuses(
                [timing(Some(30), Some(31))],
                "progressDeadlineSeconds (30) must be more than minReadySeconds (31)",
            ),
    ]
}

fn placement() -> Vec<Case> {
    vec![
        Case::new("evenly-spread", "spec.schedulePolicies")
            .accepts([json!([]), spread(&json!([{"topology": {"zone": "a"}}]))])
            .refuses(
                [json!([{"type": "EvenlySpread"}])],
                "schedulePolicies: type EvenlySpread needs the field evenlySpread with its topologies",
            ),
        Case::new("topology-twice", "spec.schedulePolicies")
            .accepts([spread(&json!([
                {"topology": {"zone": "a"}, "weight": 2},
                {"topology": {"zone": "b"}, "weight": 2},
                {"topology": {"zone": "a", "disk": "fast"}},
            ]))])
            .refuses(
                [spread(&json!([
                    {"topology": {"zone": "a", "disk": "fast"}},
                    {"topology": {"disk": "fast", "zone": "a"}, "weight": 2},
                ]))],
                "topologies: each topology may stand in the list only once",
            ),
    ]
}

fn services() -> Vec<Case> {
    let service = |rule| Case::new(rule, "spec.service");
    vec![
        service("service-load-balancer-class")
            .accepts([json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/internal"})])
            .refuses(
                [
                    json!({"loadBalancerClass": "x"}),
                    json!({"type": "ClusterIP", "loadBalancerClass": "x"}),
                    json!({"type": "NodePort", "loadBalancerClass": "x"}),
                ],
                "service: loadBalancerClass needs type LoadBalancer",
            ),
        service("service-source-ranges")
            .accepts([json!({"type": "LoadBalancer", "loadBalancerSourceRanges": []})])
            .refuses(
                [
                    json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                    json!({"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                ],
                "service: loadBalancerSourceRanges needs type LoadBalancer",
            ),
        service("service-source-range")
            .accepts([json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["0.0.0.0/0", "fd00::/8"]})])
            .refuses(
                [json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.1"]})],
                "loadBalancerSourceRanges: \"10.0.0.1\" is not a network such as 10.0.0.0/8",
            ),
        service("service-external-traffic")
            .accepts([
                json!({"type": "NodePort", "externalTrafficPolicy": "Cluster"}),
                json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
            ])
            .refuses(
                [
                    json!({"externalTrafficPolicy": "Local"}),
                    json!({"type": "ClusterIP", "externalTrafficPolicy": "Cluster"}),
                ],
                "service: externalTrafficPolicy needs type NodePort or LoadBalancer",
            ),
        service("service-node-ports")
            .accepts([
                json!({"type": "NodePort", "nodePorts": {"sql": 30400}}),
                json!({"type": "LoadBalancer", "nodePorts": {"sql": 30400}}),
            ])
            .refuses(
                [
                    json!({"nodePorts": {"sql": 30400}}),
                    json!({"type": "ClusterIP", "nodePorts": {}}),
                ],
                "service: nodePorts needs type NodePort or LoadBalancer",
            ),
    ]
}

/// The same two rules stand at each map of labels; `wrap` puts the map where `at` needs it.
pub(super) fn labels(
    keys: &'static str,
    values: &'static str,
    at: &'static str,
    wrap: impl Fn(Value) -> Value,
) -> [Case; 2] {
    let prefix = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let good = [
        "a",
        "A_b.c-1",
        "example.com/name",
        &"a".repeat(63),
        &format!("{prefix}/name"),
    ];
    let bad = [
        "",
        "-a",
        "a-",
        "a/",
        "/a",
        "a b",
        "a..b/c",
        "-a/b",
        "A/b",
        "a/b/c",
        &"a".repeat(64),
        &format!("{prefix}d/name"),
    ];
    [
        Case::new(keys, at)
            .accepts(good.map(|key| wrap(json!({key: "x"}))))
            .refuses(
                bad.map(|key| wrap(json!({key: "x"}))),
                "a label key is a name of letters, digits, \"-\", \"_\" and \".\", with an optional DNS prefix and \
                 \"/\" before it",
            ),
        Case::new(values, at)
            .accepts(["", "a", "A_b.c-1", &"a".repeat(63)].map(|value| wrap(json!({"key": value}))))
            .refuses(
                [wrap(json!({"good": "x", "key": "-a"})), wrap(json!({"key": "-a"}))],
                "the label value \"-a\" is not allowed: letters, digits, \"-\", \"_\" and \".\", beginning and ending \
                 with a letter or digit",
            ),
    ]
}

fn timing(deadline: Option<i64>, ready: Option<i64>) -> Value {
    let mut spec = json!({});
    if let Some(deadline) = deadline {
        spec["progressDeadlineSeconds"] = json!(deadline);
    }
    if let Some(ready) = ready {
        spec["minReadySeconds"] = json!(ready);
    }
    spec
}

fn spread(topologies: &Value) -> Value {
    json!([{"type": "EvenlySpread", "evenlySpread": {"topologies": topologies}}])
}
