/* The tables of pod templates; see pod_schema.h.  Their fields are those of core/v1 up to 1.35. */
#include "k8s/manifest/pod_schema.h"

static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
static const char *const dns_policies[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default",
                                           "None", NULL};
static const char *const preemption[] = {"PreemptLowerPriority", "Never", NULL};
static const char *const log_policies[] = {"File", "FallbackToLogsOnError", NULL};
static const char *const propagations[] = {"None", "HostToContainer", "Bidirectional", NULL};
static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
static const char *const operators[] = {"Exists", "Equal", "Lt", "Gt", NULL};
static const char *const unsatisfiable[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
static const char *const seccomp_types[] = {"RuntimeDefault", "Unconfined", "Localhost", NULL};
static const char *const pod_restarts[] = {"Always", "OnFailure", "Never", NULL};

static const struct field key_ref_rows[] = {
    ROW("name", TEXT),
    ROW("key", TEXT, .required = true),
    ROW("optional", BOOLEAN),
};
static const struct schema key_ref = {SCHEMA_ROWS(key_ref_rows)};

static const struct field field_ref_rows[] = {
    ROW("apiVersion", TEXT),
    ROW("fieldPath", TEXT, .required = true),
};
static const struct schema field_ref = {SCHEMA_ROWS(field_ref_rows)};

static const struct field resource_ref_rows[] = {
    ROW("containerName", TEXT),
    ROW("divisor", QUANTITY),
    ROW("resource", TEXT, .required = true),
};
static const struct schema resource_ref = {SCHEMA_ROWS(resource_ref_rows)};

static const struct field env_source_rows[] = {
    ROW("configMapKeyRef", OBJECT, .of = &key_ref),
    ROW("secretKeyRef", OBJECT, .of = &key_ref),
    ROW("fieldRef", OBJECT, .of = &field_ref),
    ROW("resourceFieldRef", OBJECT, .of = &resource_ref),
    ROW("fileKeyRef", OBJECT),
};
static const struct schema env_source = {SCHEMA_ROWS(env_source_rows)};

static const struct field env_rows[] = {
    ROW("name", TEXT, .required = true, .check = check_env_name),
    ROW("value", TEXT),
    ROW("valueFrom", OBJECT, .of = &env_source),
};
static const struct schema env = {SCHEMA_ROWS(env_rows), .check = check_env};

static const struct field object_ref_rows[] = {
    ROW("name", TEXT),
    ROW("optional", BOOLEAN),
};
static const struct schema object_ref = {SCHEMA_ROWS(object_ref_rows)};

static const struct field env_from_rows[] = {
    ROW("prefix", TEXT),
    ROW("configMapRef", OBJECT, .of = &object_ref),
    ROW("secretRef", OBJECT, .of = &object_ref),
};
static const struct schema env_from = {SCHEMA_ROWS(env_from_rows)};

static const struct field port_rows[] = {
    ROW("containerPort", INTEGER, .required = true, .min = 1, .max = 65535),
    ROW("hostPort", INTEGER, .min = 0, .max = 65535),
    ROW("name", TEXT, .check = check_port_name),
    ROW("protocol", TEXT, .words = protocols),
    ROW("hostIP", TEXT),
};
static const struct schema port = {SCHEMA_ROWS(port_rows), .check = check_port};

static const struct field claim_rows[] = {
    ROW("name", TEXT, .required = true),
    ROW("request", TEXT),
};
static const struct schema claim = {SCHEMA_ROWS(claim_rows)};

static const struct field resources_rows[] = {
    ROW("limits", QUANTITIES),
    ROW("requests", QUANTITIES),
    ROW("claims", ARRAY, .of = &claim),
};
static const struct schema resources = {SCHEMA_ROWS(resources_rows)};

static const struct field mount_rows[] = {
    ROW("name", TEXT, .required = true),
    ROW("mountPath", TEXT, .required = true, .check = check_mount_path),
    ROW("readOnly", BOOLEAN),
    ROW("subPath", TEXT),
    ROW("subPathExpr", TEXT),
    ROW("mountPropagation", TEXT, .words = propagations),
    ROW("recursiveReadOnly", TEXT),
};
static const struct schema mount = {SCHEMA_ROWS(mount_rows)};

static const struct field device_rows[] = {
    ROW("name", TEXT, .required = true),
    ROW("devicePath", TEXT, .required = true),
};
static const struct schema device = {SCHEMA_ROWS(device_rows)};

static const struct field exec_rows[] = {
    ROW("command", TEXTS),
};
static const struct schema exec_action = {SCHEMA_ROWS(exec_rows)};

static const struct field http_rows[] = {
    ROW("path", TEXT),         ROW("port", PORT, .required = true),
    ROW("host", TEXT),         ROW("scheme", TEXT, .words = schemes),
    ROW("httpHeaders", ARRAY),
};
static const struct schema http_action = {SCHEMA_ROWS(http_rows)};

static const struct field tcp_rows[] = {
    ROW("port", PORT, .required = true),
    ROW("host", TEXT),
};
static const struct schema tcp_action = {SCHEMA_ROWS(tcp_rows)};

static const struct field grpc_rows[] = {
    ROW("port", INTEGER, .required = true, .min = 1, .max = 65535),
    ROW("service", TEXT),
};
static const struct schema grpc_action = {SCHEMA_ROWS(grpc_rows)};

static const struct field sleep_rows[] = {
    ROW("seconds", INTEGER, .required = true),
};
static const struct schema sleep_action = {SCHEMA_ROWS(sleep_rows)};

static const struct field handler_rows[] = {
    ROW("exec", OBJECT, .of = &exec_action),
    ROW("httpGet", OBJECT, .of = &http_action),
    ROW("tcpSocket", OBJECT, .of = &tcp_action),
    ROW("sleep", OBJECT, .of = &sleep_action),
};
static const struct schema handler = {SCHEMA_ROWS(handler_rows)};

static const struct field lifecycle_rows[] = {
    ROW("postStart", OBJECT, .of = &handler),
    ROW("preStop", OBJECT, .of = &handler),
    ROW("stopSignal", TEXT),
};
static const struct schema lifecycle = {SCHEMA_ROWS(lifecycle_rows)};

static const struct field probe_rows[] = {
    ROW("exec", OBJECT, .of = &exec_action),
    ROW("httpGet", OBJECT, .of = &http_action),
    ROW("tcpSocket", OBJECT, .of = &tcp_action),
    ROW("grpc", OBJECT, .of = &grpc_action),
    ROW("initialDelaySeconds", INTEGER),
    ROW("periodSeconds", INTEGER),
    ROW("timeoutSeconds", INTEGER),
    ROW("successThreshold", INTEGER),
    ROW("failureThreshold", INTEGER),
    ROW("terminationGracePeriodSeconds", INTEGER, .min = 1, .max = INT64_MAX),
};
static const struct schema probe = {SCHEMA_ROWS(probe_rows)};

static const struct field capabilities_rows[] = {
    ROW("add", TEXTS),
    ROW("drop", TEXTS),
};
static const struct schema capabilities = {SCHEMA_ROWS(capabilities_rows)};

static const struct field profile_rows[] = {
    ROW("type", TEXT, .required = true, .words = seccomp_types),
    ROW("localhostProfile", TEXT),
};
static const struct schema profile = {SCHEMA_ROWS(profile_rows)};

static const struct field security_rows[] = {
    ROW("allowPrivilegeEscalation", BOOLEAN),
    ROW("appArmorProfile", OBJECT, .of = &profile),
    ROW("capabilities", OBJECT, .of = &capabilities),
    ROW("privileged", BOOLEAN),
    ROW("procMount", TEXT),
    ROW("readOnlyRootFilesystem", BOOLEAN),
    ROW("runAsGroup", INTEGER),
    ROW("runAsNonRoot", BOOLEAN),
    ROW("runAsUser", INTEGER),
    ROW("seLinuxOptions", OBJECT),
    ROW("seccompProfile", OBJECT, .of = &profile),
    ROW("windowsOptions", OBJECT),
};
static const struct schema security = {SCHEMA_ROWS(security_rows)};

static const struct field pod_security_rows[] = {
    ROW("appArmorProfile", OBJECT, .of = &profile),
    ROW("fsGroup", INTEGER),
    ROW("fsGroupChangePolicy", TEXT),
    ROW("runAsGroup", INTEGER),
    ROW("runAsNonRoot", BOOLEAN),
    ROW("runAsUser", INTEGER),
    ROW("seLinuxChangePolicy", TEXT),
    ROW("seLinuxOptions", OBJECT),
    ROW("seccompProfile", OBJECT, .of = &profile),
    ROW("supplementalGroups", ANY),
    ROW("supplementalGroupsPolicy", TEXT),
    ROW("sysctls", ARRAY),
    ROW("windowsOptions", OBJECT),
};
static const struct schema pod_security = {SCHEMA_ROWS(pod_security_rows)};

static const struct field container_rows[] = {
    ROW("name", TEXT, .required = true, .check = check_container_name),
    ROW("image", TEXT, .required = true, .check = check_not_empty,
        .remedy = "add image: and the name of a container image"),
    ROW("imagePullPolicy", TEXT, .words = pull_policies),
    ROW("command", TEXTS),
    ROW("args", TEXTS),
    ROW("workingDir", TEXT),
    ROW("env", ARRAY, .of = &env),
    ROW("envFrom", ARRAY, .of = &env_from),
    ROW("ports", ARRAY, .of = &port),
    ROW("resources", OBJECT, .of = &resources),
    ROW("resizePolicy", ARRAY),
    ROW("restartPolicy", TEXT),
    ROW("restartPolicyRules", ARRAY),
    ROW("volumeMounts", ARRAY, .of = &mount),
    ROW("volumeDevices", ARRAY, .of = &device),
    ROW("lifecycle", OBJECT, .of = &lifecycle),
    ROW("livenessProbe", OBJECT, .of = &probe),
    ROW("readinessProbe", OBJECT, .of = &probe),
    ROW("startupProbe", OBJECT, .of = &probe),
    ROW("securityContext", OBJECT, .of = &security),
    ROW("stdin", BOOLEAN),
    ROW("stdinOnce", BOOLEAN),
    ROW("tty", BOOLEAN),
    ROW("terminationMessagePath", TEXT),
    ROW("terminationMessagePolicy", TEXT, .words = log_policies),
};
static const struct schema container = {SCHEMA_ROWS(container_rows), .check = check_container};

static const struct field path_item_rows[] = {
    ROW("key", TEXT, .required = true),
    ROW("path", TEXT, .required = true),
    ROW("mode", INTEGER, .min = 0, .max = 0777),
};
static const struct schema path_item = {SCHEMA_ROWS(path_item_rows)};

static const struct field config_volume_rows[] = {
    ROW("name", TEXT),
    ROW("items", ARRAY, .of = &path_item),
    ROW("defaultMode", INTEGER, .min = 0, .max = 0777,
        .remedy = "write it in octal, as 0644, or in decimal, as 420"),
    ROW("optional", BOOLEAN),
};
static const struct schema config_volume = {SCHEMA_ROWS(config_volume_rows)};

static const struct field secret_volume_rows[] = {
    ROW("secretName", TEXT),
    ROW("items", ARRAY, .of = &path_item),
    ROW("defaultMode", INTEGER, .min = 0, .max = 0777,
        .remedy = "write it in octal, as 0600, or in decimal, as 384"),
    ROW("optional", BOOLEAN),
};
static const struct schema secret_volume = {SCHEMA_ROWS(secret_volume_rows)};

static const struct field empty_rows[] = {
    ROW("medium", TEXT),
    ROW("sizeLimit", QUANTITY),
};
static const struct schema empty_volume = {SCHEMA_ROWS(empty_rows)};

static const struct field claim_volume_rows[] = {
    ROW("claimName", TEXT, .required = true),
    ROW("readOnly", BOOLEAN),
};
static const struct schema claim_volume = {SCHEMA_ROWS(claim_volume_rows)};

static const struct field host_path_rows[] = {
    ROW("path", TEXT, .required = true),
    ROW("type", TEXT),
};
static const struct schema host_path = {SCHEMA_ROWS(host_path_rows)};

static const struct field nfs_rows[] = {
    ROW("server", TEXT, .required = true),
    ROW("path", TEXT, .required = true),
    ROW("readOnly", BOOLEAN),
};
static const struct schema nfs_volume = {SCHEMA_ROWS(nfs_rows)};

static const struct field csi_rows[] = {
    ROW("driver", TEXT, .required = true), ROW("fsType", TEXT),
    ROW("nodePublishSecretRef", OBJECT),   ROW("readOnly", BOOLEAN),
    ROW("volumeAttributes", TEXT_MAP),
};
static const struct schema csi_volume = {SCHEMA_ROWS(csi_rows)};

static const struct field volume_rows[] = {
    ROW("name", TEXT, .required = true, .check = check_volume_name),
    ROW("awsElasticBlockStore", OBJECT),
    ROW("azureDisk", OBJECT),
    ROW("azureFile", OBJECT),
    ROW("cephfs", OBJECT),
    ROW("cinder", OBJECT),
    ROW("configMap", OBJECT, .of = &config_volume),
    ROW("csi", OBJECT, .of = &csi_volume),
    ROW("downwardAPI", OBJECT),
    ROW("emptyDir", OBJECT, .of = &empty_volume),
    ROW("ephemeral", OBJECT),
    ROW("fc", OBJECT),
    ROW("flexVolume", OBJECT),
    ROW("flocker", OBJECT),
    ROW("gcePersistentDisk", OBJECT),
    ROW("gitRepo", OBJECT),
    ROW("glusterfs", OBJECT),
    ROW("hostPath", OBJECT, .of = &host_path),
    ROW("image", OBJECT),
    ROW("iscsi", OBJECT),
    ROW("nfs", OBJECT, .of = &nfs_volume),
    ROW("persistentVolumeClaim", OBJECT, .of = &claim_volume),
    ROW("photonPersistentDisk", OBJECT),
    ROW("portworxVolume", OBJECT),
    ROW("projected", OBJECT),
    ROW("quobyte", OBJECT),
    ROW("rbd", OBJECT),
    ROW("scaleIO", OBJECT),
    ROW("secret", OBJECT, .of = &secret_volume),
    ROW("storageos", OBJECT),
    ROW("vsphereVolume", OBJECT),
};
static const struct schema volume = {SCHEMA_ROWS(volume_rows), .check = check_volume};

static const struct field toleration_rows[] = {
    ROW("key", TEXT),
    ROW("operator", TEXT, .words = operators),
    ROW("value", TEXT),
    ROW("effect", TEXT, .words = effects),
    ROW("tolerationSeconds", INTEGER, .min = INT64_MIN, .max = INT64_MAX),
};
static const struct schema toleration = {SCHEMA_ROWS(toleration_rows)};

static const struct field affinity_rows[] = {
    ROW("nodeAffinity", OBJECT),
    ROW("podAffinity", OBJECT),
    ROW("podAntiAffinity", OBJECT),
};
static const struct schema affinity = {SCHEMA_ROWS(affinity_rows)};

static const struct field spread_rows[] = {
    ROW("maxSkew", INTEGER, .required = true, .min = 1, .max = INT32_MAX),
    ROW("topologyKey", TEXT, .required = true),
    ROW("whenUnsatisfiable", TEXT, .required = true, .words = unsatisfiable),
    ROW("labelSelector", OBJECT),
    ROW("matchLabelKeys", TEXTS),
    ROW("minDomains", INTEGER, .min = 1, .max = INT32_MAX),
    ROW("nodeAffinityPolicy", TEXT),
    ROW("nodeTaintsPolicy", TEXT),
};
static const struct schema spread = {SCHEMA_ROWS(spread_rows)};

static const struct field dns_rows[] = {
    ROW("nameservers", TEXTS),
    ROW("searches", TEXTS),
    ROW("options", ARRAY),
};
static const struct schema dns = {SCHEMA_ROWS(dns_rows)};

static const struct field alias_rows[] = {
    ROW("ip", TEXT, .required = true),
    ROW("hostnames", TEXTS),
};
static const struct schema host_alias = {SCHEMA_ROWS(alias_rows)};

static const struct field pull_secret_rows[] = {
    ROW("name", TEXT),
};
static const struct schema pull_secret = {SCHEMA_ROWS(pull_secret_rows)};

static const struct field named_rows[] = {
    ROW("name", TEXT, .required = true),
};
static const struct schema named = {SCHEMA_ROWS(named_rows)};

static const struct field pod_claim_rows[] = {
    ROW("name", TEXT, .required = true),
    ROW("resourceClaimName", TEXT),
    ROW("resourceClaimTemplateName", TEXT),
};
static const struct schema pod_claim = {SCHEMA_ROWS(pod_claim_rows)};

static const struct field spec_rows[] = {
    ROW("containers", ARRAY, .of = &container, .required = true,
        .remedy = "add a list with at least one container"),
    ROW("initContainers", ARRAY, .of = &container),
    ROW("ephemeralContainers", ARRAY),
    ROW("volumes", ARRAY, .of = &volume),
    ROW("activeDeadlineSeconds", INTEGER, .min = 1, .max = INT32_MAX),
    ROW("affinity", OBJECT, .of = &affinity),
    ROW("automountServiceAccountToken", BOOLEAN),
    ROW("dnsConfig", OBJECT, .of = &dns),
    ROW("dnsPolicy", TEXT, .words = dns_policies),
    ROW("enableServiceLinks", BOOLEAN),
    ROW("hostAliases", ARRAY, .of = &host_alias),
    ROW("hostIPC", BOOLEAN),
    ROW("hostNetwork", BOOLEAN),
    ROW("hostPID", BOOLEAN),
    ROW("hostUsers", BOOLEAN),
    ROW("hostname", TEXT),
    ROW("hostnameOverride", TEXT),
    ROW("imagePullSecrets", ARRAY, .of = &pull_secret),
    ROW("nodeName", TEXT),
    ROW("nodeSelector", TEXT_MAP),
    ROW("os", OBJECT, .of = &named),
    ROW("overhead", QUANTITIES),
    ROW("preemptionPolicy", TEXT, .words = preemption),
    ROW("priority", INTEGER, .min = INT32_MIN, .max = INT32_MAX),
    ROW("priorityClassName", TEXT),
    ROW("readinessGates", ARRAY),
    ROW("resourceClaims", ARRAY, .of = &pod_claim),
    ROW("resources", OBJECT, .of = &resources),
    ROW("restartPolicy", TEXT, .words = pod_restarts),
    ROW("runtimeClassName", TEXT),
    ROW("schedulerName", TEXT),
    ROW("schedulingGates", ARRAY, .of = &named),
    ROW("securityContext", OBJECT, .of = &pod_security),
    ROW("serviceAccount", TEXT),
    ROW("serviceAccountName", TEXT),
    ROW("setHostnameAsFQDN", BOOLEAN),
    ROW("shareProcessNamespace", BOOLEAN),
    ROW("subdomain", TEXT),
    ROW("terminationGracePeriodSeconds", INTEGER, .min = 0, .max = INT64_MAX),
    ROW("tolerations", ARRAY, .of = &toleration),
    ROW("topologySpreadConstraints", ARRAY, .of = &spread),
    ROW("workloadRef", OBJECT),
};
static const struct schema pod_spec = {SCHEMA_ROWS(spec_rows), .check = check_pod_spec};

static const struct field metadata_rows[] = {
    ROW("labels", TEXT_MAP, .check = check_labels),
    ROW("annotations", TEXT_MAP, .check = check_annotations),
    ROW("name", TEXT),
    ROW("generateName", TEXT),
    ROW("namespace", TEXT),
    ROW("creationTimestamp", TEXT),
    ROW("finalizers", TEXTS),
    ROW("ownerReferences", ARRAY),
};
static const struct schema metadata = {SCHEMA_ROWS(metadata_rows)};

static const struct field template_rows[] = {
    ROW("metadata", OBJECT, .of = &metadata),
    ROW("spec", OBJECT, .of = &pod_spec, .required = true,
        .remedy = "add spec: with a list of containers"),
};
const struct schema pod_template_schema = {SCHEMA_ROWS(template_rows)};
