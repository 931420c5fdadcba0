use super::*;

const GROUP: &str =
    "apiVersion: core.pingcap.com/v1alpha1\nkind: TiProxyGroup\nmetadata: {name: web, namespace: ns}\n";
const CLUSTER: &str =
    "apiVersion: core.pingcap.com/v1alpha1\nkind: Cluster\nmetadata: {name: basic, namespace: ns}\n";

fn options() -> Options {
    Options {
        pd_addrs: Vec::new(),
        namespace: "ns".to_owned(),
        ordinal: 0,
    }
}

fn rendering(text: &str, options: &Options) -> Output {
    let source = Source {
        name: "web.yaml".to_owned(),
        text: text.to_owned(),
    };
    render(&[source], options)
}

/// The group with a template, and a part of its spec beside.
fn group(template: &str, spec: &str) -> String {
    format!(
        "{GROUP}spec: {{cluster: {{name: basic}}, replicas: 1, {spec} template: {{spec: {{version: v1.3.2, {template}}}}}}}\n"
    )
}

fn lines(output: &Output) -> Vec<String> {
    output.messages.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused(text: &str) -> String {
    let output = rendering(text, &options());
    assert_eq!(output.configs, [], "{text}");
    assert!(output.has_errors(), "{text}: {output:?}");
    lines(&output).join("\n")
}

#[test]
fn the_text_is_that_of_the_config_map() {
    let text = group("config: \"log.level = 'warn'\"", "");
    let cluster = format!(
        "{CLUSTER}spec: {{tlsCluster: {{enabled: true}}}}\nstatus: {{pd: 'https://basic-pd.ns:2379'}}\n"
    );
    let output = rendering(&format!("{text}---\n{cluster}"), &options());
    assert_eq!(output.messages, []);
    let object = serde_saphyr::from_str(&text).unwrap();
    let valid = crate::group::validate::validate(&object).unwrap();
    let discovery = Discovery {
        pd_addrs: vec!["basic-pd.ns:2379".to_owned()],
        tls: Some(true),
        cluster_domain: None,
    };
    let instance = crate::group::build::instance::instance(&valid, &discovery, 0, None);
    let instance = instance_validate::validate(&instance).unwrap();
    let expected = config_map(&instance, &tls(&instance), &Location::of(&instance, None, None))
        .data
        .unwrap();
    let [config] = output.configs.as_slice() else {
        panic!("{output:?}")
    };
    assert_eq!(config.toml, expected[CONFIG_FILE]);
    assert_eq!(
        (config.object.as_str(), config.pod.as_str()),
        ("TiProxyGroup web", "web-tiproxy-0")
    );
    assert_eq!(output.text(), config.toml);
    for part in [
        "level = \"warn\"",
        "basic-pd.ns:2379",
        "/var/lib/tiproxy-tls/ca.crt",
    ] {
        assert!(config.toml.contains(part), "{part}: {}", config.toml);
    }
}

#[test]
fn pd_is_found_as_the_operator_finds_it() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: a-pd, namespace: ns, labels: {pingcap.com/cluster: basic, pingcap.com/component: pd}}\nspec: {ports: [{port: 2379}]}\n";
    let plain = group("", "");
    let of = |more: &str, options: &Options| {
        let output = rendering(&format!("{plain}---\n{more}"), options);
        assert!(!output.has_errors(), "{output:?}");
        let line = output.configs[0]
            .toml
            .lines()
            .find(|line| line.starts_with("pd-addrs"))
            .unwrap();
        (line.to_owned(), lines(&output).join("\n"))
    };
    let cluster = format!("{CLUSTER}spec: {{}}\n");
    assert_eq!(
        of(&format!("{cluster}---\n{service}"), &options()),
        ("pd-addrs = \"a-pd.ns.svc:2379\"".to_owned(), String::new())
    );
    let (address, told) = of("", &options());
    assert_eq!(address, format!("pd-addrs = \"{PD_PLACEHOLDER}\""));
    assert!(
        told.starts_with("note: TiProxyGroup web: there is no Cluster basic in the input, so TLS"),
        "{told}"
    );
    assert!(told.ends_with("or give --pd-addrs"), "{told}");
    let (address, told) = of(&cluster, &options());
    assert_eq!(address, format!("pd-addrs = \"{PD_PLACEHOLDER}\""));
    assert!(told.contains("neither the Cluster basic nor a Service"), "{told}");
    // What stands elsewhere is not seen.
    let elsewhere = cluster.replace("namespace: ns", "namespace: other");
    assert!(of(&elsewhere, &options()).1.contains("there is no Cluster basic"));

    let mut given = options();
    given.pd_addrs = vec!["a:1".to_owned(), "b:2".to_owned()];
    let output = of(&format!("{cluster}---\n{service}"), &given);
    assert_eq!(output, ("pd-addrs = \"a:1,b:2\"".to_owned(), String::new()));
    assert_eq!(of("", &given), output);
    let own = plain.replace("name: basic", "name: basic, pdAddrs: ['own:2379']");
    assert!(rendering(&own, &options()).configs[0].toml.contains("own:2379"));
    assert!(rendering(&own, &given).configs[0].toml.contains("a:1,b:2"));
}

#[test]
fn the_cluster_counts_also_where_it_does_not_know_pd() {
    let cluster = format!("{CLUSTER}spec: {{tlsCluster: {{enabled: true}}, dns: {{mode: FQDN}}}}\n");
    let mut given = options();
    given.pd_addrs = vec!["a:1".to_owned()];
    for options in [&options(), &given] {
        let toml = &rendering(&format!("{}---\n{cluster}", group("", "")), options).configs[0].toml;
        assert!(toml.contains("/var/lib/tiproxy-tls/ca.crt"), "{toml}");
        assert!(
            toml.contains("web-tiproxy-0.web-tiproxy-peer.ns.svc.cluster.local"),
            "{toml}"
        );
    }
}

#[test]
fn errors_and_warnings_are_the_words_of_the_conditions() {
    let told = refused(&group(
        "config: \"labels={\\\"group\\\":\\\"oltp\\\"}\\n[log]\"",
        "",
    ));
    assert!(
        told.starts_with("error: TiProxyGroup web: spec.template.spec.config: line 1, column 16: "),
        "{told}"
    );
    assert!(told.contains("labels = { group = \"oltp\" }"), "{told}");
    let told = refused(&group(
        "config: \"log.level = 'loud'\\nproxy.max-connections = -1\"",
        "",
    ));
    assert_eq!(told.lines().count(), 2, "{told}");

    let text = group(
        "config: \"proxy.addr = 'x'\\nproxy.max-conections = 1\", overlay: {pod: {}},",
        "",
    );
    let output = rendering(&text, &options());
    let told: Vec<String> = lines(&output)
        .into_iter()
        .filter(|line| line.starts_with("warning: "))
        .collect();
    for (line, part) in told.iter().zip([
        "warning: TiProxyGroup web: spec.template.spec.config: line 1, column 7: `proxy.addr` = \"x\" is overridden",
        "warning: TiProxyGroup web: spec.template.spec.config: line 2, column 7: ",
        "warning: TiProxyGroup web: not supported yet: spec.template.spec.overlay",
    ]) {
        assert!(line.starts_with(part), "{line}");
    }
    assert!(!output.has_errors() && output.configs.len() == 1);
    assert_eq!(
        refused(&group("", "maxSurge: many,")),
        "error: TiProxyGroup web: spec.maxSurge is \"many\": it must be an integer of at least 0 or a percentage such \
         as \"25%\""
    );
}

#[test]
fn a_field_that_does_not_fit_is_named() {
    for (template, spec, fault) in [
        ("", "replica: 1,", "unknown field \"spec.replica\""),
        (
            "server: {port: {mysql: 1}}",
            "",
            "unknown field \"spec.template.spec.server.port.mysql\"",
        ),
        (
            "volumes: [{name: a, storage: 1, mounts: [{path: /a, mountPath: /a}]}]",
            "",
            "unknown field \"spec.template.spec.volumes[0].mounts[0].path\"",
        ),
        (
            "server: {port: {sql: 0}}",
            "",
            "spec.template.spec.server.port.sql: 0 must be at least 1",
        ),
        (
            "server: {port: {sql: 65536}}",
            "",
            "spec.template.spec.server.port.sql: 65536 must be at most 65535",
        ),
        (
            "image: ''",
            "",
            "spec.template.spec.image: 0 characters must be at least 1",
        ),
        (
            "volumes: [{name: a, storage: 1, mounts: []}]",
            "",
            "spec.template.spec.volumes[0].mounts: 0 items must be at least 1",
        ),
        (
            "",
            "maxSurge: 1.5,",
            "spec.maxSurge: 1.5 must be a whole number or a string",
        ),
        ("", "paused: 'yes',", "spec.paused: \"yes\" must be true or false"),
        (
            "",
            "volumeRetention: Keep,",
            "spec.volumeRetention: \"Keep\" must be one of \"Delete\", \"Retain\"",
        ),
        (
            "security: {tls: {mysql: {}}}",
            "",
            "spec.template.spec.security.tls.mysql.enabled is missing",
        ),
        (
            "config: {log: 1}",
            "",
            "spec.template.spec.config: an object must be a string",
        ),
        (
            "",
            "schedulePolicies: [{type: EvenlySpread, evenlySpread: {topologies: [{topology: {}}]}}],",
            "spec.schedulePolicies[0].evenlySpread.topologies[0].topology: 0 entries must be at least 1",
        ),
    ] {
        assert_eq!(
            refused(&group(template, spec)),
            format!("error: TiProxyGroup web: {fault}")
        );
    }
    let of = |from: &str, to: &str| refused(&group("", "").replace(from, to));
    assert_eq!(
        of("namespace: ns", "label: {}"),
        "error: TiProxyGroup web: unknown field \"metadata.label\""
    );
    assert_eq!(
        of("name: web, ", ""),
        "error: web.yaml: document 1: metadata.name is missing"
    );
    assert_eq!(
        of("spec: {cluster", "specs: {cluster"),
        "error: TiProxyGroup web: unknown field \"specs\"\nerror: TiProxyGroup web: spec is missing"
    );
    assert_eq!(
        of("v1alpha1", "v1"),
        "error: TiProxyGroup web: apiVersion: \"core.pingcap.com/v1\" must be \"core.pingcap.com/v1alpha1\""
    );
    // As for the API server, a null is none, and what the overlay says is nobody's business.
    let free = "overlay: {pod: {spec: {anything: {goes: here}}}}, image: null";
    assert!(!rendering(&group(free, "paused: null,"), &options()).has_errors());
}

#[test]
fn what_is_no_manifest_of_ours_is_told() {
    assert_eq!(
        refused("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"),
        "note: Deployment a: skipped: it is no TiProxyGroup, TiProxy, Cluster or Service\n\
         error: web.yaml: there is no TiProxyGroup and no TiProxy to render"
    );
    assert_eq!(
        refused(""),
        "error: web.yaml: there is no TiProxyGroup and no TiProxy to render"
    );
    assert_eq!(
        refused("a: 1"),
        "error: web.yaml: document 1: not a manifest: it has no kind"
    );
    assert!(refused("{").starts_with("error: web.yaml: not YAML: "));
    assert!(
        refused(&format!("{CLUSTER}spec: {{paused: 3}}\n"))
            .starts_with("error: Cluster basic: cannot be read: ")
    );
}

#[test]
fn every_group_and_every_item_of_a_list_is_rendered() {
    let two = group("", "").replace("name: web", "name: other");
    let output = rendering(&format!("---\n{}---\n{two}---\n", group("", "")), &options());
    let text = output.text();
    assert_eq!(output.configs.len(), 2);
    assert!(
        text.starts_with("# TiProxyGroup web: config.toml of Pod web-tiproxy-0\n"),
        "{text}"
    );
    assert!(
        text.contains("\n\n# TiProxyGroup other: config.toml of Pod other-tiproxy-0\n"),
        "{text}"
    );
    // One that is wrong keeps no other from being rendered.
    let bad = two.replace("replicas: 1", "replicas: -1");
    let output = rendering(&format!("{bad}---\n{}", group("", "")), &options());
    assert_eq!((output.configs.len(), output.has_errors()), (1, true));

    let item: serde_json::Value = serde_saphyr::from_str(&group("", "")).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [item]});
    assert_eq!(rendering(&list.to_string(), &options()).configs.len(), 1);
}

#[test]
fn the_ordinal_and_the_namespace_are_part_of_the_name() {
    let mut options = options();
    options.ordinal = 7;
    options.namespace = "other".to_owned();
    let text = group("", "").replace(", namespace: ns", "");
    let toml = &rendering(&text, &options).configs[0].toml;
    assert!(
        toml.contains("advertise-addr = \"web-tiproxy-7.web-tiproxy-peer.other.svc\""),
        "{toml}"
    );
}

#[test]
fn a_tiproxy_is_rendered_as_it_stands() {
    let instance = |discovery: &str| {
        format!(
            "apiVersion: core.pingcap.com/v1alpha1\nkind: TiProxy\nmetadata: {{name: web-3, namespace: ns}}\n\
             spec: {{cluster: {{name: basic}}, subdomain: web-tiproxy-peer, version: v1.3.2, {discovery}\n\
             config: \"proxy.addr = 'x'\"}}\n"
        )
    };
    let output = rendering(&instance("discovery: {pdAddrs: ['pd:2379']},"), &options());
    let [config] = output.configs.as_slice() else {
        panic!("{output:?}")
    };
    assert_eq!(
        (config.object.as_str(), config.pod.as_str()),
        ("TiProxy web-3", "web-tiproxy-3")
    );
    assert!(
        lines(&output)[0].contains("`proxy.addr` = \"x\" is overridden"),
        "{output:?}"
    );
    assert!(
        refused(&instance(""))
            .starts_with("error: TiProxy web-3: TiProxy web-3: spec.discovery.pdAddrs is empty")
    );
    let mut given = options();
    given.pd_addrs = vec!["a:1".to_owned()];
    assert!(rendering(&instance(""), &given).configs[0].toml.contains("a:1"));
}
