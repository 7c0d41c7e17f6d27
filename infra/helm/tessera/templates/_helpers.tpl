{{/* What several templates share: the bus's address, the variables of a bus user, how a container is locked in. */}}
{{- define "tessera.bus" -}}
{{ .Values.bus.address | default (printf "%s-nats:4222" .Release.Name) }}
{{- end }}

{{- define "tessera.monitoring" -}}
{{ .Values.bus.monitoring | default (printf "%s-nats-headless.%s:8222" .Release.Name .Release.Namespace) }}
{{- end }}

{{/* dict "root" $ "user" "edge_a" */}}
{{- define "tessera.busEnv" -}}
- name: NATS_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .root.Values.secret.name }}, key: {{ upper .user }}_PASSWORD } }
- name: TESSERA_NATS_URL
  value: nats://{{ .user }}:$(NATS_PASSWORD)@{{ include "tessera.bus" .root }}
- name: TESSERA_NATS_NAME
  value: {{ .user }}
{{- end }}

{{- define "tessera.webhookEnv" -}}
- name: TESSERA_WEBHOOK_SECRETS
  valueFrom: { secretKeyRef: { name: {{ .Values.secret.name }}, key: TESSERA_WEBHOOK_SECRETS } }
{{- end }}

{{- define "tessera.moreEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "tessera.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "tessera.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* dict "root" $ "part" "edge" */}}
{{- define "tessera.labels" -}}
app.kubernetes.io/name: tessera
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}
