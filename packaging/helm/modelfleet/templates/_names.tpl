{{- define "modelfleet.name" -}}
{{ .Values.fullnameOverride | default "modelfleet-controller" }}
{{- end }}

{{- define "modelfleet.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "modelfleet.name" .) }}
{{- end }}

{{/* What finds the pods. It never changes, because a Deployment's selector cannot. */}}
{{- define "modelfleet.selector" -}}
app.kubernetes.io/name: {{ include "modelfleet.name" . }}
{{- end }}

{{/* Of the objects that belong to no pod. */}}
{{- define "modelfleet.labels" -}}
app.kubernetes.io/part-of: modelfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "modelfleet.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The rules of a role, by its name in manifests/rbac.yaml: what the controller and users may do has one home. */}}
{{- define "modelfleet.rules" -}}
{{- $wanted := last . }}
{{- $found := list }}
{{- range $document := splitList "\n---\n" ((first .).Files.Get "files/rbac.yaml") }}
{{- $role := fromYaml $document }}
{{- if and $role.rules (eq $role.metadata.name $wanted) }}
{{- $found = $role.rules }}
{{- end }}
{{- end }}
{{- if not $found }}
{{- fail (printf "manifests/rbac.yaml has no rules of %s" $wanted) }}
{{- end }}
{{- toYaml $found }}
{{- end }}
