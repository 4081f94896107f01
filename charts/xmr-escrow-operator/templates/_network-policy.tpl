{{/* Who may connect to a port: (list ROOT PEERS PORT). Without peers everybody; with some, `helm test` besides. */}}
{{- define "xmr-escrow-operator.ingress" -}}
{{- $root := index . 0 -}}
- ports:
    - port: {{ index . 2 }}
  {{- with index . 1 }}
  from:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: xmr-escrow-test
          app.kubernetes.io/instance: {{ $root.Release.Name }}
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What may be connected to: (list {to, ports} PROTOCOL...). */}}
{{- define "xmr-escrow-operator.egressRule" -}}
{{- $target := first . }}
{{- $protocols := rest . -}}
- ports:
    {{- range $port := required "each list of ports of networkPolicy needs one" $target.ports }}
    {{- range $protocol := $protocols }}
    - port: {{ $port | int64 }}
      protocol: {{ $protocol }}
    {{- end }}
    {{- end }}
  {{- with $target.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What both operator and gateway connect to. */}}
{{- define "xmr-escrow-operator.egress" -}}
{{- $policy := .Values.networkPolicy -}}
# wallets
- ports:
    - port: 18083
  to:
    - namespaceSelector:
        {{- if .Values.watchNamespaces }}
        matchExpressions:
          - key: kubernetes.io/metadata.name
            operator: In
            values:
              {{- .Values.watchNamespaces | toYaml | nindent 14 }}
        {{- else }} {}
        {{- end }}
      podSelector:
        matchLabels:
          app.kubernetes.io/name: monero-wallet-rpc
# the API server
{{ include "xmr-escrow-operator.egressRule" (list $policy.apiServer "TCP") }}
# DNS
{{ include "xmr-escrow-operator.egressRule" (list $policy.dns "UDP" "TCP") }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- if .Values.tracing.enabled }}
{{- $url := urlParse .Values.tracing.endpoint }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}
# the collector of traces
- ports:
    - port: {{ $port | int64 }}
{{- end }}
{{- end }}
