{{/* The name of the control plane and all that goes with it; a canary has one of its own. */}}
{{- define "leasehold.name" -}}
{{- include "leasehold.suffixed" (dict "name" "leasehold-control-plane" "root" .) -}}
{{- end }}

{{- define "leasehold.suffixed" -}}
{{- if eq .root.Values.revision "default" }}{{ .name }}{{ else }}{{ printf "%s-%s" .name .root.Values.revision | trunc 63 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "leasehold.etcd" -}}{{ include "leasehold.suffixed" (dict "name" "leasehold-etcd" "root" .) }}{{- end }}
{{- define "leasehold.proxy" -}}{{ include "leasehold.suffixed" (dict "name" "leasehold-etcd-proxy" "root" .) }}{{- end }}
{{- define "leasehold.certificate" -}}{{ include "leasehold.suffixed" (dict "name" "leasehold-webhook" "root" .) }}{{- end }}

{{- define "leasehold.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "leasehold.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* Labels that select; they never change. */}}
{{- define "leasehold.selector" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "leasehold.labels" -}}
{{ include "leasehold.selector" . }}
app.kubernetes.io/part-of: leasehold
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
leasehold.dev/revision: {{ .root.Values.revision }}
{{- end }}

{{- define "leasehold.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- if .image.digest }}{{ printf "%s@%s" .image.repository .image.digest }}{{ else }}{{ printf "%s:%s" .image.repository $tag }}{{ end -}}
{{- end }}

{{- define "leasehold.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .uid }}
runAsGroup: {{ .uid }}
fsGroup: {{ .uid }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "leasehold.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Whether it serves a webhook, and whether it makes the certificates for that itself. */}}
{{- define "leasehold.hasWebhook" -}}
{{- if or .Values.injector.enabled (and .Values.validation.enabled (eq .Values.rules.source "objects")) }}true{{ end -}}
{{- end }}

{{- define "leasehold.makesCertificates" -}}
{{- if and (include "leasehold.hasWebhook" .) (eq .Values.injector.certificates "self-managed") }}true{{ end -}}
{{- end }}

{{/* Whether the control plane speaks to the API server. */}}
{{- define "leasehold.speaksToCluster" -}}
{{- if or (eq .Values.rules.source "objects") (include "leasehold.makesCertificates" .) (include "leasehold.asksNamespaces" .) }}true{{ end -}}
{{- end }}

{{- define "leasehold.asksNamespaces" -}}
{{- if and .Values.injector.enabled (eq .Values.injector.namespaces "ask") }}true{{ end -}}
{{- end }}

{{/* Where etcd is, for the control plane: a JSON list. */}}
{{- define "leasehold.etcdEndpoints" -}}
{{- if eq .Values.etcd.mode "bundled" -}}
{{- list (printf "http://%s.%s.svc:2379" (include "leasehold.etcd" .) .Release.Namespace) | toJson -}}
{{- else -}}
{{- required "etcd.external.endpoints: where is etcd? --set etcd.external.endpoints='{https://host:2379}', or, to try it out, --set etcd.mode=bundled" (.Values.etcd.external.endpoints | join ",") | splitList "," | toJson -}}
{{- end -}}
{{- end }}

{{/* How the control plane reaches etcd: the section of its configuration. */}}
{{- define "leasehold.etcdSection" -}}
{{- $section := dict "endpoints" (include "leasehold.etcdEndpoints" . | fromJsonArray) "deadline" .Values.etcd.deadline -}}
{{- if eq .Values.etcd.mode "external" -}}
{{- $external := .Values.etcd.external -}}
{{- if ne $external.tls "none" -}}
{{- $tls := dict "ca" "/etc/leasehold/etcd/ca.crt" -}}
{{- if eq $external.tls "mutual" -}}
{{- $tls = merge $tls (dict "cert" "/etc/leasehold/etcd/tls.crt" "key" "/etc/leasehold/etcd/tls.key") -}}
{{- end -}}
{{- $_ := set $section "tls" $tls -}}
{{- end -}}
{{- if $external.username -}}
{{- $_ := set $section "username" $external.username -}}
{{- $_ := set $section "password_file" "/etc/leasehold/etcd/password" -}}
{{- end -}}
{{- end -}}
{{- $section | toJson -}}
{{- end }}

{{/* The secret with what proves to etcd who we are; empty if nothing does. */}}
{{- define "leasehold.etcdSecret" -}}
{{- if and (eq .Values.etcd.mode "external") (or (ne .Values.etcd.external.tls "none") .Values.etcd.external.username) -}}
{{- required "etcd.external.secret: tls and username need the name of a secret with ca.crt, tls.crt, tls.key or password" .Values.etcd.external.secret -}}
{{- end -}}
{{- end }}

{{/* How sidecars reach etcd: a section of inject. */}}
{{- define "leasehold.sidecarEtcd" -}}
{{- $external := .Values.etcd.external -}}
{{- $section := dict "endpoints" (include "leasehold.etcdEndpoints" . | fromJsonArray) -}}
{{- if eq .Values.etcd.mode "external" -}}
{{- $_ := set $section "tls" $external.tls -}}
{{- with $external.secret -}}{{- $_ := set $section "secret" . -}}{{- end -}}
{{- with $external.username -}}{{- $_ := set $section "username" . -}}{{- end -}}
{{- end -}}
{{- if .Values.etcd.proxy.enabled -}}
{{- $_ := set $section "endpoints" (list (printf "http://%s.%s.svc:2379" (include "leasehold.proxy" .) .Release.Namespace)) -}}
{{- $_ := set $section "tls" "none" -}}
{{- if not $external.username -}}{{- $_ := unset $section "secret" -}}{{- end -}}
{{- end -}}
{{- $section | toJson -}}
{{- end }}

{{/* The control plane's configuration file, as a mapping. */}}
{{- define "leasehold.config" -}}
{{- $values := .Values -}}
{{- $config := dict
    "tenant" $values.tenant
    "replica" "${POD_NAME}"
    "etcd" (include "leasehold.etcdSection" . | fromJson)
    "http" (dict "listen" (include "leasehold.listen" (dict "host" $values.controlPlane.bindAddress "port" 8700)))
    "operator" (dict "listen" "127.0.0.1:8710" "http" "127.0.0.1:8711")
    "lease" (dict "ttl" $values.controlPlane.leaseTtl)
    "scan_interval" $values.controlPlane.scanInterval
    "rules" (ternary (dict "file" "rules.yaml") (dict "etcd" true) (eq $values.rules.source "file")) -}}
{{- if eq $values.rules.source "objects" -}}
{{- $_ := set $config "kubernetes" (dict "objects" true "selector" $values.rules.selector) -}}
{{- end -}}
{{- if include "leasehold.hasWebhook" . -}}
{{- $ours := eq $values.injector.certificates "self-managed" -}}
{{- $webhook := dict
    "http" (dict "listen" (include "leasehold.listen" (dict "host" $values.controlPlane.bindAddress "port" 8443)))
    "certificates" (ternary "self-managed" "files" $ours) -}}
{{- if not $ours -}}{{- $_ := set $webhook "directory" "/etc/leasehold/webhook" -}}{{- end -}}
{{- if not (include "leasehold.asksNamespaces" .) -}}{{- $_ := set $webhook "namespaces" "trust" -}}{{- end -}}
{{- $_ := set $config "webhook" $webhook -}}
{{- $_ := set $config "inject" (include "leasehold.injectSection" . | fromJson) -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy $values.controlPlane.config) | toYaml -}}
{{- end }}

{{- define "leasehold.listen" -}}
{{- if contains ":" .host }}{{ printf "[%s]:%d" .host (int .port) }}{{ else }}{{ printf "%s:%d" .host (int .port) }}{{ end -}}
{{- end }}

{{- define "leasehold.injectSection" -}}
{{- $sidecar := .Values.injector.sidecar -}}
{{- $resources := dict -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $name := list "cpu" "memory" -}}
{{- $amount := dig $kind $name "" $sidecar.resources -}}
{{- $_ := set $resources (printf "%s_%s" $name (trimSuffix "s" $kind)) ($amount | default nil) -}}
{{- end -}}
{{- end -}}
{{- /* Requests may be left out, not undone: then they are the product's own. */ -}}
{{- range $name := list "cpu_request" "memory_request" -}}
{{- if not (get $resources $name) -}}{{- $_ := unset $resources $name -}}{{- end -}}
{{- end -}}
{{- dict
    "image" (include "leasehold.image" (dict "image" .Values.images.sidecar "root" .))
    "pull_policy" .Values.images.sidecar.pullPolicy
    "namespace" .Release.Namespace
    "revision" .Values.revision
    "etcd" (include "leasehold.sidecarEtcd" . | fromJson)
    "native_sidecar" $sidecar.native
    "capture" $sidecar.capture
    "uid" (int $sidecar.uid)
    "gid" (int $sidecar.gid)
    "ttl" $sidecar.ttl
    "service_ttl" $sidecar.serviceTtl
    "log_level" $sidecar.logLevel
    "resources" $resources | toJson -}}
{{- end }}
