{{- define "xmr-escrow-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "xmr-escrow-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "xmr-escrow-operator.fullname" .) }}
{{- else -}}
{{ required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Constant, whatever the release is called: the pools' NetworkPolicies let in pods with this name. */}}
{{- define "xmr-escrow-operator.selectorLabels" -}}
app.kubernetes.io/name: xmr-escrow-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "xmr-escrow-operator.labels" -}}
{{ include "xmr-escrow-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: xmr-escrow-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "xmr-escrow-operator.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository is required: set it to where you pushed the operator's image, with the name of the registry (--set image.repository=REGISTRY/xmr-escrow/operator)" -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* A user's or group's number, 0 included; nothing for null. */}}
{{- define "xmr-escrow-operator.id" -}}
{{- if not (kindIs "invalid" .) -}}
{{ int64 . }}
{{- end -}}
{{- end -}}

{{/* Of the operator's pod, the gateway's and that of helm test. */}}
{{- define "xmr-escrow-operator.podSecurityContext" -}}
runAsNonRoot: true
{{- $given := .Values.podSecurityContext | default dict }}
{{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with include "xmr-escrow-operator.id" (index $given $key) }}
{{ $key }}: {{ . }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* What no schema can say. */}}
{{- define "xmr-escrow-operator.validate" -}}
{{- if and .Values.walletPool.enabled .Values.watchNamespaces -}}
{{- $namespace := .Values.walletPool.namespace | default .Release.Namespace -}}
{{- if not (has $namespace .Values.watchNamespaces) -}}
{{- fail (printf "walletPool is in namespace %s, which is not one of watchNamespaces: nobody would serve it" $namespace) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tracing.enabled (not .Values.tracing.endpoint) -}}
{{- fail "tracing.endpoint is needed with tracing.enabled: the address of a collector, such as http://otel-collector.monitoring.svc:4318" -}}
{{- end -}}
{{- end -}}

{{/* Variables of operator and gateway where traces are enabled. */}}
{{- define "xmr-escrow-operator.tracingEnv" -}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.tracing.endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .Values.tracing.ratio | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "service.version=%s,k8s.namespace.name=%s" .Chart.AppVersion .Release.Namespace | quote }}
{{- with .Values.tracing.headersSecretRef }}
{{- if .name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
      # Without it the collector refuses spans, and nobody waits for a pod.
      optional: true
{{- end }}
{{- end }}
{{- end -}}

{{/* What the operator may do in the namespaces that it serves. */}}
{{- define "xmr-escrow-operator.rules" -}}
# Sessions and pools are watched, and listed in full by every sweep.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions, walletpools]
  verbs: [list, watch]
# Before a pod is deleted whose session is gone: is it?
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions]
  verbs: [get]
# Finalizers: a session's wallets are closed before it goes, and a pool stays for as long as sessions have its slots.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions, walletpools]
  verbs: [patch]
# The session that is evicted at the cap, with sessions.evictionPolicy Delete. Its wallets and deeds stay.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions]
  verbs: [delete]
# It is the only one that writes their status.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions/status, walletpools/status]
  verbs: [patch]
# What it makes blocks its owner's deletion, which some clusters allow only to those who may finalize the owner.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions/finalizers, walletpools/finalizers]
  verbs: [update]
# Wallet pods: made by the pools' Deployments, patched when a session adopts one, deleted after it.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
# Deeds, connections, the pools' login keys, and by name what a spec refers to. No list and no watch: those would
# show it every Secret there is. No delete: that would be the right to delete deeds. See admission-policy.yaml for patch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
# One headless Service per pool, applied (server-side apply makes what is missing: it needs create and patch), and read
# before: it takes over nobody else's. So with Deployments and NetworkPolicies.
- apiGroups: [""]
  resources: [services]
  verbs: [create, get, list, patch]
# The wallets' volumes: made once. It can neither change nor delete them.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, get, list]
# What kubectl describe tells.
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# The warm wallet pods of each role, applied. Garbage collection removes them with their pool.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, get, list, patch]
# A session's host names, applied; withdrawn when it closes, and listed for those that a crash left.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [create, list, patch, delete]
# The guard of a pool's pods, applied; removed when the spec turns it off.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, get, list, patch, delete]
# While clients sign with the wallets of a session nobody evicts its pods: made for a signing round, deleted after it, and
# listed for those that a crash left. A drain that waits for one is in its hands for half an hour at most.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, list, delete]
{{- end -}}

{{/* What it needs to know of the cluster, wherever it serves. */}}
{{- define "xmr-escrow-operator.clusterRules" -}}
# To say that a pool's StorageClass does not exist.
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [get]
{{- with .Values.watchNamespaces }}
# Whether a namespace that it serves is being deleted, or gone: its role there goes with it.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: {{ toJson . }}
  verbs: [get]
{{- end }}
{{- end -}}

{{- define "xmr-escrow-operator.gatewayName" -}}
{{ include "xmr-escrow-operator.fullname" . }}-gateway
{{- end -}}

{{/* What admission-policy.yaml lets the operator write ends like this. */}}
{{- define "xmr-escrow-operator.gatewayLogins" -}}
{{ include "xmr-escrow-operator.fullname" . }}-gateway-logins
{{- end -}}

{{- define "xmr-escrow-operator.gatewayTls" -}}
{{ .Values.gateway.tls.secretName | default (printf "%s-gateway-tls" (include "xmr-escrow-operator.fullname" .)) }}
{{- end -}}

{{/* Constant, whatever the release is called: the pools' NetworkPolicies let in pods with this name. */}}
{{- define "xmr-escrow-operator.gatewaySelectorLabels" -}}
app.kubernetes.io/name: xmr-escrow-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "xmr-escrow-operator.gatewayLabels" -}}
{{ include "xmr-escrow-operator.gatewaySelectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: xmr-escrow-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What the gateway may do in the namespaces that are served. No Secret is among it. */}}
{{- define "xmr-escrow-operator.gatewayRules" -}}
# Where a wallet is open; a touch; and sessions that callers may create. See gateway-rbac.yaml for patch.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions]
  verbs: [get, create, patch]
# Whether a pool allows methods that show keys.
- apiGroups: [xmr-escrow.dev]
  resources: [walletpools]
  verbs: [get]
{{- if .Values.gateway.page.enabled }}
# For the page, which shows each caller what he may list himself.
- apiGroups: [xmr-escrow.dev]
  resources: [escrowsessions, walletpools]
  verbs: [list]
# The story of a session, on the page.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end }}
{{- end -}}
