-- Health of a Modelfleet ModelVersion, from its conditions. A status of an older generation says nothing about this spec.
local hs = { status = "Progressing", message = "Waiting for the controller to check the file" }

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The version is being deleted"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end

local holds = {}
for _, condition in ipairs(obj.status.conditions) do
  local current = condition.observedGeneration == nil or obj.metadata.generation == nil
    or condition.observedGeneration == obj.metadata.generation
  if condition.status == "True" and current then
    holds[condition.type] = condition
  end
end

if obj.status.message ~= nil and obj.status.message ~= "" then
  hs.message = obj.status.message
end
if holds["Stalled"] ~= nil then
  hs.status = "Degraded"
elseif holds["Ready"] ~= nil then
  hs.status = "Healthy"
  hs.message = obj.status.message or ""
end
return hs
