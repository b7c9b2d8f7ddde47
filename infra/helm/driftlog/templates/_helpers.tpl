{{- /* Short enough that a pod's name is a worker's slot: at most 40 characters. */ -}}
{{- define "driftlog.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 28 | trimSuffix "-" -}}
{{- end -}}

{{- define "driftlog.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "driftlog.labels" -}}
{{ include "driftlog.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "driftlog.account" -}}
{{- default (include "driftlog.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* A key of a Secret needs the Secret: (list key secret "kafka"). */ -}}
{{- define "driftlog.needsSecret" -}}
{{- if and (index . 0) (not (index . 1)) -}}
{{- fail (printf "%s.secret is missing: it has to hold %s" (index . 2) (index . 0)) -}}
{{- end -}}
{{- end -}}

{{- define "driftlog.environment" -}}
{{- $kafka := .Values.kafka -}}
{{- $registry := .Values.registry -}}
{{- range list $kafka.passwordKey $kafka.caKey $kafka.certificateKey $kafka.privateKeyKey -}}
{{- include "driftlog.needsSecret" (list . $kafka.secret "kafka") -}}
{{- end -}}
{{- range list $registry.passwordKey $registry.caKey -}}
{{- include "driftlog.needsSecret" (list . $registry.secret "registry") -}}
{{- end -}}
- name: DRIFTLOG_APP
  value: {{ required "app is missing: module:attribute of the app" .Values.app | quote }}
- name: DRIFTLOG_SLOT
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- name: DRIFTLOG_DATA_DIR
  value: /data
- name: DRIFTLOG_WORKERS
  value: {{ .Values.worker.processes | quote }}
- name: DRIFTLOG_SESSION_TIMEOUT
  value: {{ .Values.worker.sessionTimeout | quote }}
- name: DRIFTLOG_CACHE_MB
  value: {{ .Values.worker.cacheMb | quote }}
- name: DRIFTLOG_STANDBY
  value: {{ .Values.worker.standby | quote }}
- name: DRIFTLOG_LOG_LEVEL
  value: {{ .Values.worker.logLevel | quote }}
{{- with .Values.worker.spaces }}
- name: DRIFTLOG_SPACES
  value: {{ . | quote }}
{{- end }}
- name: DRIFTLOG_METRICS_ADDRESS
  value: "0.0.0.0:{{ .Values.metrics.port }}"
- name: DRIFTLOG_KAFKA__BOOTSTRAP
  value: {{ required "kafka.bootstrap is missing: host:port of a broker" $kafka.bootstrap | quote }}
- name: DRIFTLOG_KAFKA__SECURITY_PROTOCOL
  value: {{ $kafka.securityProtocol | quote }}
{{- with $kafka.saslMechanism }}
- name: DRIFTLOG_KAFKA__SASL_MECHANISM
  value: {{ . | quote }}
{{- end }}
{{- with $kafka.saslUsername }}
- name: DRIFTLOG_KAFKA__SASL_USERNAME
  value: {{ . | quote }}
{{- end }}
{{- with $kafka.passwordKey }}
- name: DRIFTLOG_KAFKA__SASL_PASSWORD_FILE
  value: "/run/secrets/kafka/{{ . }}"
{{- end }}
{{- with $kafka.caKey }}
- name: DRIFTLOG_KAFKA__CA_FILE
  value: "/run/secrets/kafka/{{ . }}"
{{- end }}
{{- with $kafka.certificateKey }}
- name: DRIFTLOG_KAFKA__CERTIFICATE_FILE
  value: "/run/secrets/kafka/{{ . }}"
{{- end }}
{{- with $kafka.privateKeyKey }}
- name: DRIFTLOG_KAFKA__KEY_FILE
  value: "/run/secrets/kafka/{{ . }}"
{{- end }}
- name: DRIFTLOG_REGISTRY__URL
  value: {{ required "registry.url is missing: the Confluent-compatible API" $registry.url | quote }}
{{- with $registry.username }}
- name: DRIFTLOG_REGISTRY__USERNAME
  value: {{ . | quote }}
{{- end }}
{{- with $registry.passwordKey }}
- name: DRIFTLOG_REGISTRY__PASSWORD_FILE
  value: "/run/secrets/registry/{{ . }}"
{{- end }}
{{- with $registry.caKey }}
- name: DRIFTLOG_REGISTRY__CA_FILE
  value: "/run/secrets/registry/{{ . }}"
{{- end }}
{{- with .Values.trust.root }}
- name: DRIFTLOG_TRUST__ROOT
  value: {{ . | quote }}
{{- end }}
{{- if .Values.cloudIdentity.secret }}
- name: DRIFTLOG_CLOUD_IDENTITY
  value: /run/secrets/cloud/cloud.json
{{- end }}
{{- end -}}
